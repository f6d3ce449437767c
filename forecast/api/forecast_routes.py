"""`POST /forecast/v1/forecast`: the model named in the request, and others to fall back on."""

import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import orjson
from fastapi import APIRouter, Request, Response

from forecast.api import examples
from forecast.api.calls import arrived, read_aside, received_at, response_of, unless_gone
from forecast.api.openapi import FORECAST, FORECAST_SHAPES, ROUTED, header, takes
from forecast.api.options import MOST_FALLBACKS, ApiOptions
from forecast.core.errors import (
    FieldError,
    ForecastError,
    InvalidRequest,
    UnknownModel,
    UnsupportedFormat,
)
from forecast.data.bodies import Envelope, envelope_of, is_json
from forecast.serving.hosts import Answer, Call, Host

log = logging.getLogger(__name__)

# The model cannot answer now, whoever asks: 409 not ready, 501 library missing, 502 broken
# output or source, 503 host away. Never what the caller did wrong, a full queue or a deadline.
_WORTH_A_FALLBACK = frozenset({409, 501, 502, 503})
_HEADERS = {
    **FORECAST[200]["headers"],
    "X-Forecast-Model": header("The model that answered."),
    "X-Forecast-Skipped": header("Models that could not answer, each with the code of why."),
}
_CODE = re.compile(r"[a-z0-9_]{1,64}")


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a model did not answer: what was raised, or the answer of a host elsewhere."""

    model_id: str
    code: str
    what: ForecastError | Answer


def forecast_router(hosts: Mapping[str, Host], options: ApiOptions) -> APIRouter:
    """Build `/forecast`."""
    router = APIRouter(tags=["forecast"])

    @router.post(
        "/forecast",
        responses={**FORECAST, 200: {**FORECAST[200], "headers": _HEADERS}},
        openapi_extra=takes(*FORECAST_SHAPES, shown=examples.routed(list(hosts)), prefix=ROUTED),
    )
    async def forecast(request: Request) -> Response:
        """Forecast with the model that the request names, or with the first fallback that can.

        All models that are tried share the `timeout_s` of the request.
        """
        call = await arrived(request, options)
        if not is_json(call.content_type):
            raise UnsupportedFormat(
                "this path takes application/json; send files to /forecast/v1/<model_id>/inference"
            )
        envelope = await read_aside(call, envelope_of, call.body, options.policy)
        tried = [hosts[model_id] for model_id in _model_ids(envelope, hosts, options.aliases)]
        call = replace(call, until=received_at(request) + envelope.timeout_s)
        return await unless_gone(request.receive, _first_answer(tried, call))

    return router


def _model_ids(
    envelope: Envelope, hosts: Mapping[str, Host], aliases: Mapping[str, str]
) -> list[str]:
    """List the models to try, each once, in order.

    Raises:
        InvalidRequest: `model` or `fallback` is missing or of the wrong kind.
        UnknownModel: names the models there are.
    """
    model = envelope.model
    fallback = [] if envelope.fallback is None else envelope.fallback
    if not isinstance(model, str):
        raise InvalidRequest.field("/model", "name a model by its id or an alias")
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
        skipped = tuple(f"{one.model_id};{one.code}" for one in failures)
        result = await _ask(host, replace(call, skipped=skipped))
        if not isinstance(result, _Failure):
            return _response(result, host.spec.model_id, skipped)
        failures.append(result)
        log.info("%s did not answer: %s", result.model_id, result.code)
    first, *others = failures
    if isinstance(first.what, ForecastError):
        raise first.what
    return _response(first.what, first.model_id, [f"{one.model_id};{one.code}" for one in others])


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
    """Read the code of a problem that came from a host elsewhere, if it is one of ours."""
    with suppress(orjson.JSONDecodeError, KeyError, TypeError):
        code = str(orjson.loads(answer.body)["code"])
        if _CODE.fullmatch(code):
            return code
    return f"http_{answer.status}"


def _response(answer: Answer, model_id: str, skipped: Sequence[str]) -> Response:
    """Say which model this is, and for which others it stands in."""
    headers = {"X-Forecast-Model": model_id}
    if skipped:
        headers["X-Forecast-Skipped"] = ", ".join(skipped)
    return response_of(answer, headers)
