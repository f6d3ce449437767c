"""The application of a host: one model, held in this process.

What a gateway needs besides, down to its libraries, is imported elsewhere: a host starts fast.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace

from fastapi import FastAPI

from forecast import __version__
from forecast.api.app import Lifespan, create_app
from forecast.api.options import ApiOptions
from forecast.api.states import state_of
from forecast.core.errors import ForecastError
from forecast.data.requests import RequestReader
from forecast.keys import kept_key
from forecast.models import MODEL_REGISTRY
from forecast.models.spec import ModelSpec
from forecast.serving.cores import CoreBoard
from forecast.serving.hosts import Call, Host, Operation
from forecast.serving.inline import InlineHost
from forecast.serving.registry import HostRegistry
from forecast.serving.service import ModelService
from forecast.settings import Settings
from forecast.wiring.shared import (
    check_names,
    data_policy,
    operator_config,
    sources_of,
    store_of,
)

log = logging.getLogger(__name__)

_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0  # between two attempts to load a model at the start


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
    options = replace(options_of(settings, keys, preload), is_host=True)
    return create_app(hosts, options, lifespan_of(hosts, preload))


def keys_of(settings: Settings) -> tuple[str, ...]:
    """List the keys of this deployment; one is made and kept where none is set."""
    if settings.api_key is None:
        return (kept_key(settings.home),)
    return tuple(key.strip() for key in settings.api_key.get_secret_value().split(","))


def inline_host(spec: ModelSpec, settings: Settings, board: CoreBoard | None = None) -> InlineHost:
    """Hold a model in this process."""
    service = ModelService(
        spec,
        sources_of(settings, store_of(settings)),
        settings.serving,
        accept_license=bool({spec.model_id, "all"} & set(settings.accept_licenses)),
        operator_config=operator_config(spec, settings),
        board=board,
    )
    return InlineHost(service, RequestReader(data_policy(settings)))


def options_of(settings: Settings, keys: tuple[str, ...], preload: tuple[str, ...]) -> ApiOptions:
    return ApiOptions(
        version=__version__,
        api_keys=keys,
        max_body_bytes=settings.max_body_bytes,
        policy=data_policy(settings),
        limits={
            "max_queue": settings.serving.max_queue,
            "max_series": settings.data.max_series,
            "max_points": settings.data.max_points,
            "timeout_s": settings.data.timeout_s,
            "max_timeout_s": settings.data.max_timeout_s,
            "max_file_bytes": settings.data.max_file_bytes,
            "max_url_bytes": settings.data.max_url_bytes,
            "training_jobs": settings.jobs.training_jobs,
            "training_queue": settings.jobs.training_queue,
            "training_limit_s": settings.jobs.training_limit_s,
            "max_datasets": settings.data.max_datasets,
            "max_datasets_bytes": settings.data.max_datasets_bytes,
        },
        required_models=preload,
        aliases=settings.aliases,
        cors_origins=settings.cors_origins,
        compress_min_bytes=settings.compress_min_bytes,
        event_streams=settings.event_streams,
        docs=settings.docs,
    )


def lifespan_of(
    hosts: HostRegistry,
    preload: tuple[str, ...],
    besides: AbstractAsyncContextManager[None] | None = None,
) -> Lifespan:
    """Start the hosts, load what is wanted from the start, and close them in the end.

    Args:
        besides: what else runs meanwhile.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001 -- FastAPI passes it
        async with AsyncExitStack() as stack:
            await hosts.start()
            stack.push_async_callback(hosts.close)
            if besides is not None:
                await stack.enter_async_context(besides)
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
