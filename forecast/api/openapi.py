"""The OpenAPI document: bodies that hosts read as bytes are described here, from their models."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from forecast.api import examples
from forecast.api.alias_requests import AliasRequest
from forecast.api.problems import PROBLEM_MEDIA_TYPE
from forecast.api.schemas import ProblemDocument
from forecast.api.security import PUBLIC_PATHS
from forecast.data.inline import ForecastRequest, ForecastResponse
from forecast.data.named_file import NamedFileRequest, NamedFileResponse
from forecast.data.rows import ARROW_FILE, ARROW_STREAM, CSV
from forecast.data.tables import TableRequest
from forecast.data.uploads import UploadForm
from forecast.serving.hosts import Host
from forecast.serving.initialization import InitializationRequest
from forecast.training.requests import SHAPES as TRAINING_SHAPES

Schema = dict[str, Any]

MOST_FALLBACKS = 8

_REF = "#/components/schemas/{model}"
_SHAPES: tuple[type[BaseModel], ...] = (ForecastRequest, TableRequest, NamedFileRequest)
_BODIES: tuple[type[BaseModel], ...] = (*_SHAPES, UploadForm)
_KEYS: dict[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The key of the deployment."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_INFERENCE_PROBLEMS = (400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 501, 502, 503, 504)


def problems(*statuses: int) -> dict[int | str, Schema]:
    """Describe the errors of a route."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": _ref(ProblemDocument.__name__)}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }


def inference_docs(model_id: str) -> Schema:
    """Describe `POST inference` of a model; for the decorator of the route."""
    shapes = [_ref(_name(model_id, shape)) for shape in _SHAPES]
    body = {
        "required": True,
        "content": {
            "application/json": {"schema": {"anyOf": shapes}, "examples": examples.BODIES},
            "multipart/form-data": {
                "schema": _ref(_name(model_id, UploadForm)),
                "encoding": _JSON_PARTS,
            },
        },
    }
    return {
        "responses": {200: _ANSWER, **problems(*_INFERENCE_PROBLEMS)},
        "openapi_extra": {"requestBody": body},
    }


def forecast_docs(model_ids: list[str]) -> Schema:
    """Describe `POST /forecast/v1/forecast`; for the decorator of the route."""
    shapes = [_ref(_name("any", shape)) for shape in _SHAPES]
    body = {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": shapes},
                "examples": examples.routed(model_ids),
            }
        },
    }
    answer = {**_ANSWER, "headers": _ROUTED_HEADERS}
    return {
        "responses": {200: answer, **problems(*_INFERENCE_PROBLEMS)},
        "openapi_extra": {"requestBody": body},
    }


def initialization_docs(model_id: str) -> Schema:
    """Describe `POST initialization` of a model; for the decorator of the route."""
    body = {
        "required": False,
        "content": {
            "application/json": {
                "schema": _ref(_name(model_id, InitializationRequest)),
                "examples": examples.INITIALIZATIONS,
            }
        },
    }
    started = {
        "description": "Started; `GET status` tells how it goes.",
        "content": {"application/json": {"schema": _ref("InitializationDocument")}},
    }
    return {
        "responses": {
            202: started,
            **problems(400, 401, 403, 404, 409, 413, 415, 422, 500, 501, 502, 503),
        },
        "openapi_extra": {"requestBody": body},
    }


def training_docs(model_id: str) -> Schema:
    """Describe `POST training` of a model; for the decorator of the route."""
    shapes = [_ref(_name(model_id, shape)) for shape in TRAINING_SHAPES]
    content = {"schema": {"anyOf": shapes}, "examples": examples.TRAININGS}
    return {
        "status_code": 202,
        "responses": problems(400, 401, 403, 404, 413, 415, 422, 429, 500, 501, 502, 503),
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": content}}
        },
    }


def alias_docs() -> Schema:
    """Describe `PUT aliases/<alias>` of a model; for the decorator of the route."""
    content = {"schema": _ref(AliasRequest.__name__), "examples": examples.ALIASES}
    return {
        "responses": problems(400, 401, 404, 409, 413, 415, 422, 503, 507),
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": content}}
        },
    }


def openapi_document(
    app: FastAPI,
    routes: Sequence[BaseRoute],
    hosts: Mapping[str, Host],
    aliases: Iterable[str],
) -> Callable[[], Schema]:
    """Make the method that builds the document, once, when it is first asked for."""

    def build() -> Schema:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=examples.INTRODUCTION,
                license_info=app.license_info,
                routes=routes,
                tags=[
                    {"name": host.spec.name, "description": host.spec.description}
                    for host in hosts.values()
                ],
            )
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(_schemas(hosts, [*hosts, *aliases]))
            components["securitySchemes"] = _KEYS
            _lock(document["paths"])
            app.openapi_schema = document
        return app.openapi_schema

    return build


def _lock(paths: Mapping[str, Mapping[str, Schema]]) -> None:
    """Mark what needs a key, by the very list that the gate goes by."""
    for path, operations in paths.items():
        if path not in PUBLIC_PATHS:
            for operation in operations.values():
                operation["security"] = [{name: []} for name in _KEYS]


def _schemas(hosts: Mapping[str, Host], names: Sequence[str]) -> dict[str, Schema]:
    """Collect the bodies of all routes, those of each model with its own options.

    Args:
        names: what `model` may be.
    """
    models: list[type[BaseModel]] = [
        *_BODIES,
        *TRAINING_SHAPES,
        ForecastResponse,
        NamedFileResponse,
        InitializationRequest,
        AliasRequest,
        ProblemDocument,
        *(host.spec.options for host in hosts.values()),
        *(host.spec.config for host in hosts.values()),
    ]
    unique = list(dict.fromkeys(models))
    refs, definitions = models_json_schema(
        [(model, "validation") for model in unique], ref_template=_REF
    )
    schemas: dict[str, Schema] = definitions["$defs"]
    own = dict(schemas)
    for model_id, host in hosts.items():
        options = refs[host.spec.options, "validation"]
        config = refs[host.spec.config, "validation"]
        for shape in _BODIES:
            own |= _with_own(schemas, shape, model_id, ("model_options", options))
        own |= _with_own(schemas, InitializationRequest, model_id, ("options", config))
        for body in TRAINING_SHAPES:
            own |= _with_own(schemas, body, model_id, ("config", config))
    for shape in _SHAPES:
        own[_name("any", shape)] = _routed(schemas[shape.__name__], names)
    return own


def _with_own(
    schemas: Mapping[str, Schema],
    shape: type[BaseModel],
    model_id: str,
    member: tuple[str, Schema],
) -> dict[str, Schema]:
    """Copy a shape for one model, with a member of it, or of its `parameters`, made exact."""
    name, exact = member
    copy = deepcopy(schemas[shape.__name__])
    copied = {_name(model_id, shape): copy}
    parameters = copy["properties"].get("parameters", {}).get("$ref", "").rpartition("/")[2]
    holder = copy
    if parameters:
        holder = deepcopy(schemas[parameters])
        own_name = f"{model_id}_{parameters}"
        copied[own_name] = holder
        copy["properties"]["parameters"] = {**copy["properties"]["parameters"], **_ref(own_name)}
    if name in holder["properties"]:
        holder["properties"][name] = exact
    return copied


def _routed(shape: Schema, names: Sequence[str]) -> Schema:
    """Add the members that name models.

    Args:
        names: the ids and aliases there are.
    """
    name = {"type": "string", "enum": list(names)}
    names_or_none = [{"type": "array", "maxItems": MOST_FALLBACKS, "items": name}, {"type": "null"}]
    copy = deepcopy(shape)
    copy["properties"] |= {
        "model": {**name, "description": "Id of a model, or an alias of this deployment."},
        "fallback": {
            "anyOf": names_or_none,
            "description": "Models to ask, in this order, where `model` cannot answer now.",
        },
    }
    copy["required"] = [*copy.get("required", ()), "model"]
    copy.pop("examples", None)
    return copy


def _name(model_id: str, shape: type[BaseModel]) -> str:
    return f"{model_id}_{shape.__name__}"


def _ref(name: str) -> Schema:
    return {"$ref": _REF.format(model=name)}


_ROUTED_HEADERS: Schema = {
    "X-Forecast-Model": {
        "description": "The model that answered.",
        "schema": {"type": "string"},
    },
    "X-Forecast-Skipped": {
        "description": "Models that could not answer, each with the code of the reason.",
        "schema": {"type": "string"},
    },
}
_BINARY: Schema = {"type": "string", "format": "binary"}
_JSON_PARTS: Schema = {
    name: {"contentType": "application/json"} for name in ("schema", "parameters")
}
_ANSWER: Schema = {
    "description": "The forecasts, in the format that `Accept` asks for.",
    "content": {
        "application/json": {
            "schema": {"anyOf": [_ref(ForecastResponse.__name__), _ref(NamedFileResponse.__name__)]}
        },
        CSV: {"schema": {"type": "string"}},
        ARROW_STREAM: {"schema": _BINARY},
        ARROW_FILE: {"schema": _BINARY},
    },
}
