"""What each operation takes and answers, for the OpenAPI document."""

from http import HTTPStatus
from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel

from forecast.api.problems import PROBLEM_MEDIA_TYPE
from forecast.api.schemas import ProblemDocument
from forecast.data.answers import ARROW_FILE, ARROW_STREAM, CSV
from forecast.data.inline import ForecastRequest, ForecastResponse
from forecast.data.named_file import NamedFileRequest, NamedFileResponse
from forecast.data.tables import TableRequest

Schema = dict[str, Any]

REF = "#/components/schemas/{model}"
FORECAST_SHAPES: tuple[type[BaseModel], ...] = (ForecastRequest, TableRequest, NamedFileRequest)
FORECAST_ANSWERS: tuple[type[BaseModel], ...] = (ForecastResponse, NamedFileResponse)
ROUTED = "Routed"  # before the name of a shape that names its model itself

_BINARY: Schema = {"schema": {"type": "string", "format": "binary"}}
_JSON_PARTS: Schema = {
    name: {"contentType": "application/json"} for name in ("schema", "parameters")
}


def ref(name: str) -> Schema:
    """Refer to a schema by the name of its class."""
    return {"$ref": REF.format(model=name)}


def operation_name(route: APIRoute) -> str:
    """Name an operation after its handler."""
    return route.name


def problems(*statuses: int) -> dict[int | str, Schema]:
    """Describe the errors of a route."""
    content = {PROBLEM_MEDIA_TYPE: {"schema": ref(ProblemDocument.__name__)}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }


def takes(
    *shapes: type[BaseModel],
    shown: Schema,
    form: type[BaseModel] | None = None,
    required: bool = True,
    prefix: str = "",
) -> Schema:
    """Describe the body of a route that reads it as bytes; for its `openapi_extra`.

    Args:
        shapes: what it takes as JSON, any of them.
        shown: the examples.
        form: what it takes as multipart/form-data.
        prefix: before the names of the shapes, such as `ROUTED`.
    """
    refs = [ref(prefix + shape.__name__) for shape in shapes]
    schema = {"anyOf": refs} if len(refs) > 1 else refs[0]
    content: Schema = {"application/json": {"schema": schema, "examples": shown}}
    if form is not None:
        content["multipart/form-data"] = {"schema": ref(form.__name__), "encoding": _JSON_PARTS}
    return {"requestBody": {"required": required, "content": content}}


def header(description: str) -> Schema:
    """Describe a header of an answer."""
    return {"description": description, "schema": {"type": "string"}}


FORECAST: dict[int | str, Schema] = {
    200: {
        "description": "The forecasts, in the format that `Accept` asks for.",
        "headers": {
            "X-Forecast-Version": header("Of a table: the version that answered."),
            "X-Forecast-Cutoff": header("Of a table: time of the newest data that it has seen."),
            "X-Forecast-SHA256": header("Of a table: the checksum of its weights."),
        },
        "content": {
            "application/json": {
                "schema": {"anyOf": [ref(one.__name__) for one in FORECAST_ANSWERS]}
            },
            CSV: {"schema": {"type": "string"}},
            ARROW_STREAM: _BINARY,
            ARROW_FILE: _BINARY,
        },
    },
    **problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 501, 502, 503, 504),
}
"""What a forecast is answered with."""
