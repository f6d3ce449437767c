"""What training, backtests and datasets take, for the OpenAPI document."""

from typing import Any

from pydantic import BaseModel

from forecast.api import training_examples as examples
from forecast.api.openapi import problems
from forecast.training.requests.fields import (
    BACKTEST_SHAPES,
    TRAINING_SHAPES,
    BacktestForm,
    DatasetForm,
    DatasetTable,
    TrainingFields,
    TrainingForm,
)

Schema = dict[str, Any]

_PROBLEMS = (400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 501, 502, 503, 507)
_SCHEMAS = "#/components/schemas"
_JSON_PARTS: Schema = {
    name: {"contentType": "application/json"} for name in ("schema", "parameters")
}

_NEW_DATASET: Schema = {
    "description": "The name is new.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/DatasetDocument"}}},
}


def training_docs(model_id: str) -> Schema:
    """Describe `POST training` of a model; for the decorator of the route."""
    return _started_by(_json(model_id, TRAINING_SHAPES, examples.TRAININGS) | _form(
        _ref(TrainingForm, model_id)))  # fmt: skip


def backtest_docs(model_id: str) -> Schema:
    """Describe `POST backtest` of a model; for the decorator of the route."""
    return _started_by(_json(model_id, BACKTEST_SHAPES, examples.BACKTESTS) | _form(
        _ref(BacktestForm, model_id)))  # fmt: skip


def short_training_docs(model_id: str) -> Schema:
    """Describe `POST /train/<model_id>`; for the decorator of the route."""
    content = _json(model_id, (TrainingFields,), examples.SHORT_TRAININGS)
    return _started_by(content, required=False)


def dataset_docs() -> Schema:
    """Describe `PUT datasets/<name>`; for the decorator of the route."""
    table = {"schema": _ref(DatasetTable), "examples": examples.DATASETS}
    content = {"application/json": table, **_form(_ref(DatasetForm))}
    return {
        "responses": {201: _NEW_DATASET, **problems(400, 401, 409, 413, 415, 422, 503, 507)},
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
    }


def _started_by(content: Schema, *, required: bool = True) -> Schema:
    return {
        "status_code": 202,
        "responses": problems(*_PROBLEMS),
        "openapi_extra": {"requestBody": {"required": required, "content": content}},
    }


def _json(model_id: str, shapes: tuple[type[BaseModel], ...], shown: Schema) -> Schema:
    schemas = [_ref(shape, model_id) for shape in shapes]
    schema = {"anyOf": schemas} if len(schemas) > 1 else schemas[0]
    return {"application/json": {"schema": schema, "examples": shown}}


def _form(schema: Schema) -> Schema:
    return {"multipart/form-data": {"schema": schema, "encoding": _JSON_PARTS}}


def _ref(shape: type[BaseModel], model_id: str | None = None) -> Schema:
    """Point at a shape; at that of one model, where its configuration is part of it."""
    name = shape.__name__ if model_id is None else f"{model_id}_{shape.__name__}"
    return {"$ref": f"{_SCHEMAS}/{name}"}
