"""The OpenAPI document as a whole.

Models share their operations: each is described once, for `{model_id}`. What differs between
models, their options and their configuration, is in `x-models`.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from forecast.api import examples
from forecast.api.alias_requests import AliasRequest
from forecast.api.dataset_routes import DatasetForm, DatasetTable
from forecast.api.openapi import FORECAST_ANSWERS, FORECAST_SHAPES, REF, ROUTED, Schema, ref
from forecast.api.options import MOST_FALLBACKS
from forecast.api.schemas import JobEventDocument, ProblemDocument
from forecast.api.security import PUBLIC_PATHS
from forecast.api.training_routes import BacktestForm, TrainingForm
from forecast.data.inline import Parameters
from forecast.data.named_file import NamedFileParameters
from forecast.data.tables import UploadForm
from forecast.models.spec import ModelSpec
from forecast.serving.initialization import InitializationRequest
from forecast.training.plan import BacktestPlan, TrainingPlan
from forecast.training.requests import BacktestRequest, TrainingRequest

Sharing = dict[tuple[str, str], list[str]]
"""The path and method of a route → the models that have the same."""

TAGS = {
    "forecast": "Forecast with one model, or with the first of several that can.",
    "datasets": "Upload data once, to train and backtest on it by its name.",
    "training": "Train, fine-tune or backtest a model, in a job.",
    "jobs": "Follow a job, read its result, cancel it or retry it.",
    "versions": "Look at what training made, promote it or roll it back.",
    "models": "Load and unload the weights of a model.",
    "discovery": "See what is served here, with which limits.",
    "health": "Check whether the gateway and its models are well.",
}

_OPTIONS, _CONFIG = "AnyModelOptions", "AnyModelConfig"
_CONFIGURED: tuple[type[BaseModel], ...] = (
    TrainingPlan,
    BacktestPlan,
    TrainingRequest,
    BacktestRequest,
)
_BY_MODEL: tuple[tuple[type[BaseModel], str, str], ...] = (
    (Parameters, "model_options", _OPTIONS),
    (NamedFileParameters, "model_options", _OPTIONS),
    (InitializationRequest, "options", _CONFIG),
    *((shape, "config", _CONFIG) for shape in _CONFIGURED),
)
_DESCRIBED: tuple[type[BaseModel], ...] = (
    *FORECAST_SHAPES,
    UploadForm,
    *FORECAST_ANSWERS,
    InitializationRequest,
    *_CONFIGURED,
    TrainingForm,
    BacktestForm,
    DatasetForm,
    DatasetTable,
    AliasRequest,
    JobEventDocument,
    ProblemDocument,
)
_KEYS: dict[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The key of the deployment."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def openapi_document(
    app: FastAPI,
    routers: Mapping[str, APIRouter],
    specs: Mapping[str, ModelSpec],
    aliases: Iterable[str],
) -> Schema:
    """Build the document.

    Args:
        routers: of the models, by their ids; all others are routes of the application.
        aliases: what `model` may be besides an id.
    """
    routes, sharing = _once(routers)
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=examples.INTRODUCTION,
        license_info=app.license_info,
        routes=[*app.routes, *routes],
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
    )
    schemas, models = _schemas(specs, [*specs, *aliases])
    document["components"]["schemas"] |= schemas
    document["components"]["securitySchemes"] = _KEYS
    document["paths"] = _templated(document["paths"], sharing)
    document["x-models"] = models
    _lock(document["paths"])
    return document


def _once(routers: Mapping[str, APIRouter]) -> tuple[list[RouteContext], Sharing]:
    """List each route that models share once, as that of its first model, and all others.

    Those of our own that models share are told by their handler; a route that a model adds with
    a router of its own is described under the path of that model alone.
    """
    routes: list[RouteContext] = []
    sharing: Sharing = {}
    models: dict[str, list[str]] = {}
    for model_id, router in routers.items():
        for route in iter_route_contexts(router.routes):
            original = route.original_route
            if not isinstance(original, APIRoute) or not original.include_in_schema:
                continue
            handler = f"{original.endpoint.__module__}.{original.endpoint.__qualname__}"
            if handler in models:
                models[handler].append(model_id)
                continue
            routes.append(route)
            if handler.startswith("forecast.api."):
                models[handler] = [model_id]
                for method in original.methods or ():
                    sharing[str(route.path_format), method.lower()] = models[handler]
    return routes, sharing


def _templated(paths: Mapping[str, Mapping[str, Schema]], sharing: Sharing) -> Schema:
    """Put `{model_id}`, any of the models that share it, into the path of each shared operation."""
    found: dict[str, Schema] = {}
    for path, operations in paths.items():
        for method, operation in operations.items():
            template = path
            if models := sharing.get((path, method)):
                template = path.replace(f"/{models[0]}", "/{model_id}", 1)
                schema = {"type": "string", "enum": models}
                name = {"name": "model_id", "in": "path", "required": True, "schema": schema}
                operation["parameters"] = [name, *operation.get("parameters", ())]
            found.setdefault(template, {})[method] = operation
    return found


def _lock(paths: Mapping[str, Mapping[str, Schema]]) -> None:
    """Mark what needs a key, by the very list that the gate goes by."""
    for path, operations in paths.items():
        if path not in PUBLIC_PATHS:
            for operation in operations.values():
                operation["security"] = [{name: []} for name in _KEYS]


def _schemas(specs: Mapping[str, ModelSpec], names: Sequence[str]) -> tuple[Schema, Schema]:
    """Collect the schemas of bodies, and which of them are the options of each model.

    Args:
        names: what `model` may be.
    """
    own = [shape for spec in specs.values() for shape in (spec.options, spec.config)]
    refs, definitions = models_json_schema(
        [(shape, "validation") for shape in dict.fromkeys([*_DESCRIBED, *own])], ref_template=REF
    )
    schemas: Schema = definitions["$defs"]
    models: Schema = {
        model_id: {
            "name": spec.name,
            "description": spec.description,
            "options": refs[spec.options, "validation"],
            "config": refs[spec.config, "validation"],
        }
        for model_id, spec in specs.items()
    }
    for name, kind in ((_OPTIONS, "options"), (_CONFIG, "config")):
        distinct = {model[kind]["$ref"]: model[kind] for model in models.values()}
        schemas[name] = {
            "anyOf": list(distinct.values()),
            "description": f"The {kind} of one model; `x-models` says which are whose.",
        }
    for shape, field, name in _BY_MODEL:
        exact = schemas[shape.__name__]["properties"][field]
        schemas[shape.__name__]["properties"][field] = {**_text_of(exact), **ref(name)}
    for shape in FORECAST_SHAPES:
        schemas[ROUTED + shape.__name__] = _routed(schemas[shape.__name__], names)
    return schemas, models


def _text_of(schema: Schema) -> Schema:
    return {key: schema[key] for key in ("title", "description", "examples") if key in schema}


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
