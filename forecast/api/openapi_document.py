"""The OpenAPI document as a whole: the routes, and what their bodies consist of."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from forecast.api import examples
from forecast.api.alias_requests import AliasRequest
from forecast.api.openapi import BODIES, REF, SHAPES, name_of, ref
from forecast.api.options import MOST_FALLBACKS
from forecast.api.schemas import ProblemDocument
from forecast.api.security import PUBLIC_PATHS
from forecast.data.inline import ForecastResponse
from forecast.data.named_file import NamedFileResponse
from forecast.serving.hosts import Host
from forecast.serving.initialization import InitializationRequest
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

_KEYS: dict[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The key of the deployment."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_LEARNING: tuple[type[BaseModel], ...] = (
    *TRAINING_SHAPES,
    *BACKTEST_SHAPES,
    TrainingFields,
    TrainingForm,
    BacktestForm,
)


def openapi_document(
    app: FastAPI,
    routes: Sequence[BaseRoute],
    hosts: Mapping[str, Host],
    aliases: Iterable[str],
) -> Schema:
    """Build the document."""
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
    return document


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
        *BODIES,
        *_LEARNING,
        DatasetForm,
        DatasetTable,
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
        [(model, "validation") for model in unique], ref_template=REF
    )
    schemas: dict[str, Schema] = definitions["$defs"]
    own = dict(schemas)
    for model_id, host in hosts.items():
        options = refs[host.spec.options, "validation"]
        config = refs[host.spec.config, "validation"]
        for shape in BODIES:
            own |= _with_own(schemas, shape, model_id, ("model_options", options))
        own |= _with_own(schemas, InitializationRequest, model_id, ("options", config))
        for body in _LEARNING:
            own |= _with_own(schemas, body, model_id, ("config", config))
    for shape in SHAPES:
        own[name_of("any", shape)] = _routed(schemas[shape.__name__], names)
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
    copied = {name_of(model_id, shape): copy}
    parameters = copy["properties"].get("parameters", {}).get("$ref", "").rpartition("/")[2]
    holder = copy
    if parameters:
        holder = deepcopy(schemas[parameters])
        own_name = f"{model_id}_{parameters}"
        copied[own_name] = holder
        copy["properties"]["parameters"] = {**copy["properties"]["parameters"], **ref(own_name)}
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
