"""The routes that every model has. The body passes through as bytes; its host reads it."""

from importlib import import_module
from typing import Any, cast

from fastapi import APIRouter, Request, Response

from forecast.api import examples
from forecast.api.calls import call_of, inference_call, response_of, unless_gone
from forecast.api.openapi import FORECAST, FORECAST_SHAPES, operation_name, problems, takes
from forecast.api.options import ApiOptions
from forecast.api.responses import json_response
from forecast.api.schemas import (
    InitializationDocument,
    ModelEntry,
    ShutdownDocument,
    StatusDocument,
)
from forecast.api.states import state_of, status_of
from forecast.data.tables import UploadForm
from forecast.serving.hosts import Host, Operation
from forecast.serving.initialization import InitializationRequest

_LOADING: dict[str, Any] = {
    "description": "Started; `GET status` tells how it goes.",
    "model": InitializationDocument,
}
_LOAD_PROBLEMS = (400, 401, 403, 404, 409, 413, 415, 422, 500, 501, 502, 503)


def router_of(host: Host, prefix: str, options: ApiOptions) -> APIRouter:
    """Build the routes of a model: the shared ones, unless its spec names others.

    Args:
        prefix: of the whole API; the routes are under `<prefix>/<model_id>`.
    """
    if host.spec.router is None:
        return model_router(host, prefix, options)
    module, _, name = host.spec.router.partition(":")
    return cast(APIRouter, getattr(import_module(module), name)(host, prefix, options))


def model_router(host: Host, prefix: str, options: ApiOptions) -> APIRouter:
    """Build `<prefix>/<model_id>` and what is under it."""
    spec = host.spec
    router = APIRouter(
        prefix=f"{prefix}/{spec.model_id}",
        redirect_slashes=False,
        generate_unique_id_function=operation_name,
    )

    @router.post(
        "/inference",
        tags=["forecast"],
        responses=FORECAST,
        openapi_extra=takes(*FORECAST_SHAPES, form=UploadForm, shown=examples.FORECASTS),
    )
    async def forecast_with_model(request: Request) -> Response:
        """Forecast one series or many: inline, as a table, an uploaded file or a named file."""
        call = await inference_call(request, options)
        return response_of(await unless_gone(request.receive, host.call(call)))

    @router.get(
        "/status",
        tags=["models"],
        response_model=StatusDocument,
        responses=problems(401, 404, 503),
    )
    async def get_model_status(request: Request) -> Response:
        """Tell whether the model can answer, and what it was loaded from."""
        return response_of(await status_of(host, await call_of(request, Operation.STATUS)))

    @router.post(
        "/initialization",
        tags=["models"],
        response_model=InitializationDocument,
        responses={202: _LOADING, **problems(*_LOAD_PROBLEMS)},
        openapi_extra=takes(InitializationRequest, shown=examples.INITIALIZATIONS, required=False),
    )
    async def load_model(request: Request) -> Response:
        """Load weights. A ready model answers until other weights have replaced its own."""
        return response_of(await host.call(await call_of(request, Operation.INITIALIZATION)))

    @router.post(
        "/shutdown",
        tags=["models"],
        response_model=ShutdownDocument,
        responses=problems(401, 404, 409, 503),
    )
    async def unload_model(request: Request) -> Response:
        """Answer what waits, unload the weights and give the memory back."""
        return response_of(await host.call(await call_of(request, Operation.SHUTDOWN)))

    @router.get("/", include_in_schema=False)
    @router.get("", tags=["models"], response_model=ModelEntry, responses=problems(401, 404))
    async def get_model() -> Response:
        """Show the entry of the registry and the state of the model."""
        return json_response({"id": spec.model_id, **spec.info, "state": await state_of(host)})

    return router
