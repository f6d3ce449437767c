"""How routes are described whose bodies are read as bytes: what they take and answer."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from forecast.api import examples
from forecast.api.alias_requests import AliasRequest
from forecast.api.problems import PROBLEM_MEDIA_TYPE
from forecast.api.schemas import ProblemDocument
from forecast.data.inline import ForecastRequest, ForecastResponse
from forecast.data.named_file import NamedFileRequest, NamedFileResponse
from forecast.data.rows import ARROW_FILE, ARROW_STREAM, CSV
from forecast.data.tables import TableRequest
from forecast.data.uploads import UploadForm
from forecast.serving.initialization import InitializationRequest

Schema = dict[str, Any]

REF = "#/components/schemas/{model}"
SHAPES: tuple[type[BaseModel], ...] = (ForecastRequest, TableRequest, NamedFileRequest)
BODIES: tuple[type[BaseModel], ...] = (*SHAPES, UploadForm)
_INFERENCE_PROBLEMS = (400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 501, 502, 503, 504)


def problems(*statuses: int) -> dict[int | str, Schema]:
    """Describe the errors of a route."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": ref(ProblemDocument.__name__)}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }


def inference_docs(model_id: str) -> Schema:
    """Describe `POST inference` of a model; for the decorator of the route."""
    shapes = [ref(name_of(model_id, shape)) for shape in SHAPES]
    body = {
        "required": True,
        "content": {
            "application/json": {"schema": {"anyOf": shapes}, "examples": examples.BODIES},
            "multipart/form-data": {
                "schema": ref(name_of(model_id, UploadForm)),
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
    shapes = [ref(name_of("any", shape)) for shape in SHAPES]
    body = {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": shapes},
                "examples": examples.routed(model_ids),
            }
        },
    }
    answer = {**_ANSWER, "headers": {**_WEIGHTS_HEADERS, **_ROUTED_HEADERS}}
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
                "schema": ref(name_of(model_id, InitializationRequest)),
                "examples": examples.INITIALIZATIONS,
            }
        },
    }
    started = {
        "description": "Started; `GET status` tells how it goes.",
        "content": {"application/json": {"schema": ref("InitializationDocument")}},
    }
    return {
        "responses": {
            202: started,
            **problems(400, 401, 403, 404, 409, 413, 415, 422, 500, 501, 502, 503),
        },
        "openapi_extra": {"requestBody": body},
    }


def alias_docs() -> Schema:
    """Describe `PUT aliases/<alias>` of a model; for the decorator of the route."""
    content = {"schema": ref(AliasRequest.__name__), "examples": examples.ALIASES}
    return {
        "responses": problems(400, 401, 404, 409, 413, 415, 422, 503, 507),
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": content}}
        },
    }


def name_of(model_id: str, shape: type[BaseModel]) -> str:
    """Name the component that is a shape with the options of one model."""
    return f"{model_id}_{shape.__name__}"


def ref(name: str) -> Schema:
    """Point at a component."""
    return {"$ref": REF.format(model=name)}


def _header(description: str) -> Schema:
    return {"description": description, "schema": {"type": "string"}}


_ROUTED_HEADERS: Schema = {
    "X-Forecast-Model": _header("The model that answered."),
    "X-Forecast-Skipped": _header("Models that could not answer, each with the code of why."),
}
_WEIGHTS_HEADERS: Schema = {
    "X-Forecast-Version": _header("Of a table: the version that answered."),
    "X-Forecast-Cutoff": _header("Of a table: time of the newest data that it has seen."),
    "X-Forecast-SHA256": _header("Of a table: the checksum of its weights."),
}
_BINARY: Schema = {"type": "string", "format": "binary"}
_JSON_PARTS: Schema = {
    name: {"contentType": "application/json"} for name in ("schema", "parameters")
}
_ANSWER: Schema = {
    "description": "The forecasts, in the format that `Accept` asks for.",
    "headers": _WEIGHTS_HEADERS,
    "content": {
        "application/json": {
            "schema": {"anyOf": [ref(ForecastResponse.__name__), ref(NamedFileResponse.__name__)]}
        },
        CSV: {"schema": {"type": "string"}},
        ARROW_STREAM: {"schema": _BINARY},
        ARROW_FILE: {"schema": _BINARY},
    },
}
