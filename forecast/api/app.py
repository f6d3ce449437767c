"""The application: middlewares, routes and documents around the hosts it is given."""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from forecast.api.discovery import STORE_FEATURES, TRAINING_FEATURES, discovery_router
from forecast.api.events import EventStreams
from forecast.api.forecast_routes import forecast_router
from forecast.api.health import ReadyCheck, health_router
from forecast.api.middleware import BodyLimit, DrainGate, Edge, Lifecycle, Unpack
from forecast.api.model_routes import router_of
from forecast.api.model_switch import ModelSwitch
from forecast.api.openapi import operation_name
from forecast.api.options import ApiOptions
from forecast.api.problems import problem_of, problem_of_fields, problem_of_http, respond
from forecast.api.security import KeyGate
from forecast.core.errors import NotFound, UnknownModel
from forecast.models.spec import ModelSpec
from forecast.serving.hosts import Host

if TYPE_CHECKING:
    from forecast.api.alias_routes import Versions
    from forecast.api.training_routes import TrainingJobs

PREFIX = "/forecast/v1"
_COMPRESSION_LEVEL = 4  # half the time of the highest, for a twentieth more bytes
_EXPOSED_HEADERS = (
    "Location",
    "Retry-After",
    "X-Forecast-Cutoff",
    "X-Forecast-Model",
    "X-Forecast-SHA256",
    "X-Forecast-Skipped",
    "X-Forecast-Version",
    "X-Process-Time",
    "X-Request-ID",
)

_SENT_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "X-API-Key",
    "X-Request-ID",
)

_NO_MODELS = ("datasets", "forecast", "jobs", "models")

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]


def create_app(
    hosts: Mapping[str, Host],
    options: ApiOptions,
    lifespan: Lifespan | None = None,
    training: "TrainingJobs | None" = None,
    versions: "Versions | None" = None,
    checks: Mapping[str, ReadyCheck] | None = None,
) -> FastAPI:
    """Build the application. The same one is the gateway and, with one host, a host.

    `app.state.lifecycle.draining` set to true turns new work away.

    Args:
        lifespan: what starts and closes the hosts; by default each is started and closed.
        training: the jobs of this gateway; a host has none.
        versions: what the store holds; shown by the gateway.
        checks: what must be ready besides the models.
    """
    lifecycle = Lifecycle()
    app = FastAPI(
        title="forecast",
        version=options.version,
        summary="One REST API for every forecasting model.",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan or _lifespan_of(hosts),
        middleware=_middleware(options, lifecycle),
        exception_handlers=_handlers(hosts),
        openapi_url="/openapi.json" if options.docs else None,
        redirect_slashes=False,
        generate_unique_id_function=operation_name,
    )
    app.state.lifecycle = lifecycle
    app.include_router(health_router(hosts, options, lifecycle, checks or {}))
    features = [*(TRAINING_FEATURES if training else ()), *(STORE_FEATURES if versions else ())]
    app.include_router(discovery_router(hosts, options, features))
    app.include_router(forecast_router(hosts, options), prefix=PREFIX)
    routers = {model_id: router_of(host, PREFIX, options) for model_id, host in hosts.items()}
    if training is not None or versions is not None:
        # A host has neither, and starts in half the time without the libraries behind them.
        from forecast.api.gateway_routes import add_training, add_versions

        if versions is not None:
            add_versions(routers, hosts, versions)
        if training is not None:
            streams = EventStreams(options.event_streams, lifecycle)
            add_training(app, routers, hosts, training, streams, PREFIX)
    app.router.routes.insert(0, ModelSwitch(PREFIX, routers))
    specs = {model_id: host.spec for model_id, host in hosts.items()}
    # FastAPI's documented way to extend the document: replace the method on the instance.
    app.openapi = _document_of(app, routers, specs, options)  # type: ignore[method-assign]
    return app


def _document_of(
    app: FastAPI,
    routers: Mapping[str, APIRouter],
    specs: Mapping[str, ModelSpec],
    options: ApiOptions,
) -> Callable[[], dict[str, Any]]:
    """Make the method that builds the document, once, when it is first asked for."""

    def build() -> dict[str, Any]:
        from forecast.api.openapi_document import openapi_document  # which no forecast needs

        if app.openapi_schema is None:
            app.openapi_schema = openapi_document(app, routers, specs, options.aliases)
        return app.openapi_schema

    return build


def _lifespan_of(hosts: Mapping[str, Host]) -> Lifespan:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001 -- FastAPI passes it
        for host in hosts.values():
            await host.start()
        try:
            yield
        finally:
            for host in hosts.values():
                await host.close()

    return lifespan


def _middleware(options: ApiOptions, lifecycle: Lifecycle) -> list[Middleware]:
    """List the middlewares from the outermost in.

    CORS stands outside of the edge, so that a page may read an error too.
    """
    stack = [Middleware(Edge)]
    if options.cors_origins:
        stack.insert(
            0,
            Middleware(
                CORSMiddleware,
                allow_origins=list(options.cors_origins),
                allow_methods=["GET", "POST", "PUT", "DELETE"],
                allow_headers=list(_SENT_HEADERS),
                expose_headers=list(_EXPOSED_HEADERS),
            ),
        )
    if options.compress_min_bytes:
        stack.append(
            Middleware(
                GZipMiddleware,
                minimum_size=options.compress_min_bytes,
                compresslevel=_COMPRESSION_LEVEL,
            )
        )
    stack.append(Middleware(DrainGate, lifecycle=lifecycle))
    stack.append(Middleware(KeyGate, keys=options.api_keys))
    stack.append(Middleware(BodyLimit, max_bytes=options.max_body_bytes))
    stack.append(Middleware(Unpack, max_bytes=options.max_body_bytes))
    return stack


def _handlers(hosts: Mapping[str, Host]) -> dict[int | type[Exception], Handler]:
    """Translate what the framework itself refuses; our own errors are the edge's."""

    async def refused(request: Request, error: HTTPException) -> Response:
        problem = problem_of_http(error)
        if error.status_code == 404:
            problem = problem_of(_not_found(request.url.path, hosts))
        return respond(request, problem)

    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return respond(request, problem_of_fields(error))

    return {HTTPException: refused, RequestValidationError: invalid}


def _not_found(path: str, hosts: Mapping[str, Host]) -> NotFound:
    """Tell an unknown model from a path that no model has."""
    model_id = path.removeprefix(f"{PREFIX}/").partition("/")[0]
    if path.startswith(f"{PREFIX}/") and model_id not in {*hosts, *_NO_MODELS}:
        return UnknownModel(f"no model {model_id!r} is served here; there are {', '.join(hosts)}")
    return NotFound("nothing is here; / links to what there is")
