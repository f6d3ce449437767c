"""The routes that every model has. The body passes through as bytes; its host reads it."""

from importlib import import_module
from typing import cast

from fastapi import APIRouter, Request, Response

from forecast.api.calls import call_of, inference_call, response_of, unless_gone
from forecast.api.openapi import inference_docs, initialization_docs, problems
from forecast.api.options import ApiOptions
from forecast.api.responses import json_response
from forecast.api.schemas import (
    InitializationDocument,
    ModelEntry,
    ShutdownDocument,
    StatusDocument,
)
from forecast.api.states import state_of, status_of
from forecast.serving.hosts import Host, Operation


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
    router = APIRouter(prefix=f"{prefix}/{spec.model_id}", tags=[spec.name], redirect_slashes=False)

    @router.post(
        "/inference", operation_id=f"{spec.model_id}_inference", **inference_docs(spec.model_id)
    )
    async def inference(request: Request) -> Response:
        """Forecast one series or many: inline, as a table, an uploaded file or a named file."""
        call = await inference_call(request, options)
        return response_of(await unless_gone(request.receive, host.call(call)))

    @router.get(
        "/status",
        operation_id=f"{spec.model_id}_status",
        response_model=StatusDocument,
        responses=problems(401, 503),
    )
    async def status(request: Request) -> Response:
        """Tell whether the model can answer, and what it was loaded from."""
        return response_of(await status_of(host, await call_of(request, Operation.STATUS)))

    @router.post(
        "/initialization",
        operation_id=f"{spec.model_id}_initialization",
        response_model=InitializationDocument,
        **initialization_docs(spec.model_id),
    )
    async def initialization(request: Request) -> Response:
        """Load weights. A ready model answers until other weights have replaced its own."""
        return response_of(await host.call(await call_of(request, Operation.INITIALIZATION)))

    @router.post(
        "/shutdown",
        operation_id=f"{spec.model_id}_shutdown",
        response_model=ShutdownDocument,
        responses=problems(401, 409, 503),
    )
    async def shutdown(request: Request) -> Response:
        """Answer what waits, unload the weights and give the memory back."""
        return response_of(await host.call(await call_of(request, Operation.SHUTDOWN)))

    @router.get("/", include_in_schema=False)
    @router.get(
        "",
        operation_id=f"{spec.model_id}_entry",
        response_model=ModelEntry,
        responses=problems(401),
    )
    async def entry() -> Response:
        """Show the entry of the registry and the state of the model."""
        return json_response({"id": spec.model_id, **spec.info, "state": await state_of(host)})

    return router
