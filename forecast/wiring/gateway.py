"""The applications: the gateway, and the host of one model."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from fastapi import FastAPI

from forecast import __version__
from forecast.api.app import Lifespan, create_app
from forecast.api.options import ApiOptions
from forecast.api.states import state_of
from forecast.core.errors import ForecastError
from forecast.models import MODEL_REGISTRY
from forecast.models.spec import ModelSpec
from forecast.serving.cores import CoreBoard
from forecast.serving.hosts import Call, Host, Operation
from forecast.serving.registry import HostRegistry
from forecast.settings import Settings
from forecast.wiring.hosts import host_of, inline_host, keys_of
from forecast.wiring.shared import check_names, data_policy
from forecast.wiring.training import TrainingParts, training_parts

log = logging.getLogger(__name__)

_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0  # between two attempts to load a model at the start


def gateway_app(settings: Settings, environment: Mapping[str, str]) -> FastAPI:
    """Build the gateway: every model served, wherever it lives.

    Args:
        environment: of this process; its children get it too.

    Raises:
        ValueError: a setting names a model that there is not.
    """
    specs = _served(settings)
    hosts = HostRegistry(
        {model_id: host_of(spec, settings, environment) for model_id, spec in specs.items()}
    )
    preload = tuple(model_id for model_id in settings.preload if model_id in specs)
    options = _options(settings, keys_of(settings), preload)
    parts = training_parts(settings, environment)
    lifespan = _lifespan(hosts, preload, parts)
    return create_app(hosts, options, lifespan, parts.training, parts.versions, parts.checks)


def host_app(
    settings: Settings, model_id: str, board: CoreBoard | None = None, *, needs_key: bool
) -> FastAPI:
    """Build the host of one model, held in this process.

    Args:
        needs_key: false on a Unix socket, whose file mode says who may connect.

    Raises:
        ValueError: there is no such model.
    """
    check_names("the model", [model_id], MODEL_REGISTRY)
    hosts = HostRegistry({model_id: inline_host(MODEL_REGISTRY[model_id], settings, board)})
    preload = (model_id,) if model_id in settings.preload else ()
    keys = keys_of(settings) if needs_key else ()
    options = replace(_options(settings, keys, preload), is_host=True)
    return create_app(hosts, options, _lifespan(hosts, preload))


def _served(settings: Settings) -> dict[str, ModelSpec]:
    check_names("FORECAST_MODELS", settings.models, MODEL_REGISTRY)
    active = [model_id for model_id, spec in MODEL_REGISTRY.items() if spec.status == "active"]
    specs = {model_id: MODEL_REGISTRY[model_id] for model_id in settings.models or active}
    for name in ("hosts", "python", "model_replicas", "preload"):
        check_names(f"FORECAST_{name.upper()}", getattr(settings, name), MODEL_REGISTRY)
    for name in ("inline", "accept_licenses"):
        check_names(f"FORECAST_{name.upper()}", getattr(settings, name), [*MODEL_REGISTRY, "all"])
    check_names("FORECAST_ALIASES", settings.aliases.values(), specs)
    return specs


def _options(settings: Settings, keys: tuple[str, ...], preload: tuple[str, ...]) -> ApiOptions:
    return ApiOptions(
        version=__version__,
        api_keys=keys,
        max_body_bytes=settings.max_body_bytes,
        policy=data_policy(settings),
        limits={
            "max_queue": settings.max_queue,
            "max_series": settings.max_series,
            "max_points": settings.max_points,
            "timeout_s": settings.timeout_s,
            "max_timeout_s": settings.max_timeout_s,
            "max_file_bytes": settings.max_file_bytes,
            "max_url_bytes": settings.max_url_bytes,
            "training_jobs": settings.training_jobs,
            "training_queue": settings.training_queue,
            "training_limit_s": settings.training_limit_s,
            "max_datasets": settings.max_datasets,
            "max_datasets_bytes": settings.max_datasets_bytes,
        },
        required_models=preload,
        aliases=settings.aliases,
        cors_origins=settings.cors_origins,
        compress_min_bytes=settings.compress_min_bytes,
        event_streams=settings.event_streams,
        docs=settings.docs,
    )


def _lifespan(
    hosts: HostRegistry, preload: tuple[str, ...], parts: TrainingParts | None = None
) -> Lifespan:
    """Start the hosts, load what is wanted from the start, and close them in the end."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001 -- FastAPI passes it
        async with AsyncExitStack() as stack:
            await hosts.start()
            stack.push_async_callback(hosts.close)
            if parts is not None:
                await stack.enter_async_context(parts.running())
            loading = [asyncio.create_task(_load(hosts[model_id])) for model_id in preload]
            try:
                yield
            finally:
                for task in loading:
                    task.cancel()

    return lifespan


async def _load(host: Host) -> None:
    """Load the default weights, however many attempts it takes, unless a caller loads others.

    A model without weights loads by itself when its host starts.
    """
    if host.spec.is_ready_at_once:
        return
    told, pause = None, _PAUSE_S
    while (await state_of(host))["model_status"] != "ready":
        if (failure := await _failure(host)) is None:
            return
        if failure != told:
            log.warning("%s was not loaded: %s", host.spec.model_id, failure)
        told = failure
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


async def _failure(host: Host) -> str | None:
    """Try once to load the default weights, and say why that failed if it did."""
    try:
        answer = await host.call(Call(Operation.INITIALIZATION, b"{}"))
    except ForecastError as error:
        return error.detail
    return None if answer.status < 300 else f"its host answered {answer.status}"
