"""Every error as `application/problem+json` (RFC 9457): one shape for every route."""

import math
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from forecast.core.errors import FieldError, ForecastError, InvalidRequest, Unauthorized

PROBLEM_MEDIA_TYPE = "application/problem+json"
CLIENT_GONE = 499  # as nginx numbers it: the caller went away before the answer

_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 422: "invalid_request"}


@dataclass(frozen=True, slots=True)
class Problem:
    """What a caller is told of one failure; holds nothing internal.

    Attributes:
        more: members beside those every problem has.
    """

    status: int
    code: str
    title: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)

    def response(self, *, path: str, request_id: str) -> Response:
        """Render it. `error` and `message` repeat `code` and `detail` for older callers."""
        document = {
            "type": f"urn:forecast:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": quote(path),
            "code": self.code,
            "request_id": request_id,
            "errors": [{"pointer": at.pointer, "detail": at.detail} for at in self.errors],
            "error": self.code,
            "message": self.detail,
            **self.more,
        }
        return Response(
            orjson.dumps(document),
            status_code=self.status,
            headers=self.headers,
            media_type=PROBLEM_MEDIA_TYPE,
        )


def problem_of(error: ForecastError) -> Problem:
    """Translate an error of ours; its text was written for the caller."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="forecast"'
    return Problem(error.status, error.code, error.title, error.detail, error.errors, headers)


def problem_of_bug() -> Problem:
    """Say that the fault is ours, and nothing of what it was: that stands in the log."""
    return Problem(
        500,
        ForecastError.code,
        ForecastError.title,
        "an unexpected error on our side; the log holds it under this request_id",
    )


def problem_of_http(error: HTTPException) -> Problem:
    """Translate what the router refuses: an unknown path, a wrong method."""
    title = HTTPStatus(error.status_code).phrase
    return Problem(
        error.status_code,
        _CODES.get(error.status_code, f"http_{error.status_code}"),
        title,
        str(error.detail or title),
        headers=dict(error.headers or {}),
    )


def problem_of_fields(error: RequestValidationError) -> Problem:
    """Translate what FastAPI found wrong with the parameters of a route."""
    fields = tuple(FieldError(_pointer(one["loc"]), one["msg"]) for one in error.errors())
    detail = "; ".join(f"{at.pointer}: {at.detail}" for at in fields)
    return problem_of(InvalidRequest(detail, errors=fields))


def request_id_of(request: Request) -> str:
    """Read the id that the outermost middleware gave this request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def respond(request: Request, problem: Problem) -> Response:
    """Render a problem as the answer to this request."""
    return problem.response(path=request.url.path, request_id=request_id_of(request))


def _pointer(location: tuple[int | str, ...]) -> str:
    """Turn pydantic's location (`("body", "inputs", 0)`) into a JSON pointer (RFC 6901)."""
    parts = location[1:] if location[:1] == ("body",) else location
    escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    return "".join(f"/{part}" for part in escaped)
