"""`POST /forecast/v1/forecast`: the model named in the request, and others to fall back on."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from forecast.api.calls import call_of, response_of, unless_gone
from forecast.api.openapi import forecast_docs
from forecast.api.openapi_document import MOST_FALLBACKS
from forecast.core.errors import (
    FieldError,
    ForecastError,
    InvalidRequest,
    UnknownModel,
    UnsupportedFormat,
)
from forecast.data.requests import is_json
from forecast.data.validation import read_json
from forecast.serving.hosts import Answer, Call, Host, Operation

log = logging.getLogger(__name__)

# The model cannot answer now, whoever asks: 409 not ready, 501 library missing, 502 broken
# output or source, 503 host away. Never what the caller did wrong, a full queue or a deadline.
_WORTH_A_FALLBACK = frozenset({409, 501, 502, 503})


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a model did not answer: what was raised, or the answer of a host elsewhere."""

    model_id: str
    code: str
    what: ForecastError | Answer


def forecast_router(hosts: Mapping[str, Host], aliases: Mapping[str, str]) -> APIRouter:
    """Build `/forecast`."""
    router = APIRouter(tags=["forecast"])

    @router.post("/forecast", operation_id="forecast", **forecast_docs(list(hosts)))
    async def forecast(request: Request) -> Response:
        """Forecast with the model that the request names, or with the first fallback that can."""
        call = await call_of(request, Operation.INFERENCE)
        document = _document(call)
        model_ids = _model_ids(document, hosts, aliases)
        call = replace(call, body=orjson.dumps(document), content_type="application/json")
        tried = [hosts[model_id] for model_id in model_ids]
        return await unless_gone(request.receive, _first_answer(tried, call))

    return router


def _document(call: Call) -> dict[str, Any]:
    if not is_json(call.content_type):
        raise UnsupportedFormat(
            "this path takes application/json; send files to /forecast/v1/<model_id>/inference"
        )
    document = read_json(call.body)
    if not isinstance(document, dict):
        raise InvalidRequest("the body must be a JSON object")
    return document


def _model_ids(
    document: dict[str, Any], hosts: Mapping[str, Host], aliases: Mapping[str, str]
) -> list[str]:
    """Take `model` and `fallback` out of the request; each model once, in the order to try.

    Raises:
        InvalidRequest: a field is missing or of the wrong kind.
        UnknownModel: names the models there are.
    """
    if not isinstance(model := document.pop("model", None), str):
        raise InvalidRequest.field("/model", "name a model by its id or an alias")
    fallback = document.pop("fallback", None)
    fallback = [] if fallback is None else fallback
    if not isinstance(fallback, list) or not all(isinstance(name, str) for name in fallback):
        raise InvalidRequest.field("/fallback", "send a list of model ids or aliases")
    if len(fallback) > MOST_FALLBACKS:
        raise InvalidRequest.field("/fallback", f"at most {MOST_FALLBACKS} models")
    pointers = ["/model", *(f"/fallback/{index}" for index in range(len(fallback)))]
    found: dict[str, None] = {}
    for pointer, name in zip(pointers, [model, *fallback], strict=True):
        model_id = aliases.get(name, name)
        if model_id not in hosts:
            raise _unknown(pointer, name, [*hosts, *aliases])
        found[model_id] = None
    return list(found)


def _unknown(pointer: str, name: str, known: Sequence[str]) -> UnknownModel:
    detail = f"no model {name!r} is served here; there are {', '.join(known)}"
    return UnknownModel(detail, errors=[FieldError(pointer, detail)])


async def _first_answer(hosts: Sequence[Host], call: Call) -> Response:
    """Ask one model after the other; where none can answer, tell why the first could not."""
    failures: list[_Failure] = []
    for host in hosts:
        result = await _ask(host, call)
        if not isinstance(result, _Failure):
            return _response(result, host.spec.model_id, failures)
        failures.append(result)
        log.info("%s did not answer: %s", result.model_id, result.code)
    if isinstance(failures[0].what, ForecastError):
        raise failures[0].what
    return _response(failures[0].what, failures[0].model_id, failures[1:])


async def _ask(host: Host, call: Call) -> Answer | _Failure:
    model_id = host.spec.model_id
    try:
        answer = await host.call(call)
    except ForecastError as error:
        if error.status not in _WORTH_A_FALLBACK:
            raise
        return _Failure(model_id, error.code, error)
    if answer.status not in _WORTH_A_FALLBACK:
        return answer
    return _Failure(model_id, _code_of(answer), answer)


def _code_of(answer: Answer) -> str:
    """Read the code of a problem that came from a host elsewhere."""
    try:
        return str(orjson.loads(answer.body)["code"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"http_{answer.status}"


def _response(answer: Answer, model_id: str, failures: Sequence[_Failure]) -> Response:
    """Say which model this is; where it stands in for another, in the warnings too."""
    headers = {"X-Forecast-Model": model_id}
    if failures:
        headers["X-Forecast-Skipped"] = ", ".join(f"{one.model_id};{one.code}" for one in failures)
        if answer.status == 200 and answer.media_type.startswith("application/json"):
            answer = replace(answer, body=_with_warnings(answer.body, model_id, failures))
    return response_of(answer, headers)


def _with_warnings(body: bytes, model_id: str, failures: Sequence[_Failure]) -> bytes:
    document = orjson.loads(body)
    warnings = [f"{one.model_id} could not answer ({one.code}); {model_id} did" for one in failures]
    document["warnings"] = [*document.get("warnings", ()), *warnings]
    return orjson.dumps(document)
