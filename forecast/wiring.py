"""From settings to the objects that serve: the one place that knows every layer."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from forecast import __version__
from forecast.api.alias_routes import Versions
from forecast.api.app import Lifespan, create_app
from forecast.api.options import ApiOptions
from forecast.api.training_routes import Training
from forecast.core.errors import ForecastError
from forecast.data.policy import DataPolicy
from forecast.data.requests import RequestReader
from forecast.keys import kept_key
from forecast.machine import cores, has_gpu
from forecast.models import MODEL_REGISTRY
from forecast.models.spec import ModelSpec
from forecast.serving.channel import RemoteHost
from forecast.serving.children import ChildHost
from forecast.serving.cores import CoreBoard
from forecast.serving.hosts import Call, Host, Operation
from forecast.serving.inline import InlineHost
from forecast.serving.loaded import QueueLimits
from forecast.serving.registry import HostRegistry
from forecast.serving.service import ModelService
from forecast.serving.supervisor import ChildOptions
from forecast.settings import Settings
from forecast.store.config import StoreConfig
from forecast.store.hub import HubSettings
from forecast.store.sources import SourceResolver
from forecast.store.versions import ModelStore
from forecast.training.datasets import DatasetOptions, Datasets
from forecast.training.defaults import DefaultDataset
from forecast.training.jobs import Jobs, JobsOptions

log = logging.getLogger(__name__)

_LONGEST_CALL_S = 3600.0  # a first initialization may download gigabytes
_MOST_REPLICAS = 4  # each holds the weights once more


def gateway_app(settings: Settings, environment: Mapping[str, str]) -> FastAPI:
    """Build the gateway: every model served, wherever it lives.

    Args:
        environment: of this process; its children get it too.

    Raises:
        ValueError: a setting names a model that there is not.
    """
    specs = _served(settings)
    hosts = HostRegistry(
        {model_id: _host(spec, settings, environment) for model_id, spec in specs.items()}
    )
    preload = tuple(model_id for model_id in settings.preload if model_id in specs)
    options = _options(settings, _keys(settings), preload)
    training = training_of(settings)
    versions = Versions(ModelStore(StoreConfig(root=settings.models_folder)))
    lifespan = _lifespan(hosts, preload, training.jobs)
    return create_app(hosts, options, lifespan, training, versions)


def host_app(
    settings: Settings, model_id: str, board: CoreBoard | None = None, *, needs_key: bool
) -> FastAPI:
    """Build the host of one model, held in this process.

    Args:
        needs_key: false on a Unix socket, whose file mode says who may connect.

    Raises:
        ValueError: there is no such model.
    """
    _check_names("the model", [model_id], MODEL_REGISTRY)
    hosts = HostRegistry({model_id: _inline(MODEL_REGISTRY[model_id], settings, board)})
    preload = (model_id,) if model_id in settings.preload else ()
    keys = _keys(settings) if needs_key else ()
    return create_app(hosts, _options(settings, keys, preload), _lifespan(hosts, preload))


def _served(settings: Settings) -> dict[str, ModelSpec]:
    _check_names("FORECAST_MODELS", settings.models, MODEL_REGISTRY)
    active = [model_id for model_id, spec in MODEL_REGISTRY.items() if spec.status == "active"]
    specs = {model_id: MODEL_REGISTRY[model_id] for model_id in settings.models or active}
    for name in ("hosts", "python", "model_replicas", "preload"):
        _check_names(f"FORECAST_{name.upper()}", getattr(settings, name), MODEL_REGISTRY)
    for name in ("inline", "accept_licenses"):
        _check_names(f"FORECAST_{name.upper()}", getattr(settings, name), [*MODEL_REGISTRY, "all"])
    _check_names("FORECAST_ALIASES", settings.aliases.values(), specs)
    return specs


def _check_names(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    there = list(known)
    unknown = [name for name in names if name not in there]
    if unknown:
        raise ValueError(
            f"{what} names {', '.join(unknown)}, which is not served; there are {', '.join(there)}"
        )


def _keys(settings: Settings) -> tuple[str, ...]:
    if settings.api_key is None:
        return (kept_key(settings.home),)
    return tuple(key.strip() for key in settings.api_key.get_secret_value().split(","))


def _host(spec: ModelSpec, settings: Settings, environment: Mapping[str, str]) -> Host:
    """Choose where a model lives: elsewhere, in this process, or in a child of it."""
    model_id = spec.model_id
    if url := settings.hosts.get(model_id):
        return RemoteHost(spec, url, api_key=_keys(settings)[0], max_call_s=_LONGEST_CALL_S)
    if {model_id, "all"} & set(settings.inline):
        return _inline(spec, settings)
    return ChildHost(spec, _child_options(spec, settings, environment))


def _inline(spec: ModelSpec, settings: Settings, board: CoreBoard | None = None) -> InlineHost:
    service = ModelService(
        spec,
        _sources(settings),
        QueueLimits(max_queue=settings.max_queue, drain_s=settings.shutdown_s),
        accept_license=bool({spec.model_id, "all"} & set(settings.accept_licenses)),
        operator_config=_operator_config(spec, settings),
        board=board,
    )
    return InlineHost(service, RequestReader(_data_policy(settings)))


def _operator_config(spec: ModelSpec, settings: Settings) -> dict[str, Any]:
    """Collect what only the operator sets of a model: the setting `<model_id>_<field>` of each."""
    found = {
        name: getattr(settings, f"{spec.model_id}_{name}") for name in spec.config.operator_fields
    }
    return {name: value for name, value in found.items() if value is not None}


def training_of(settings: Settings) -> Training:
    """Build the jobs of a gateway; nothing is read or begun yet."""
    policy = _data_policy(settings)
    options = JobsOptions(
        folder=settings.jobs_folder,
        database_url=settings.jobs_database,
        at_once=settings.training_jobs * settings.workers,
        max_waiting=settings.training_queue,
        kept=settings.jobs_kept,
        lost_s=settings.worker_lost_s,
    )
    kept = DatasetOptions(
        settings.datasets_folder, settings.max_datasets, settings.max_datasets_bytes
    )
    return Training(
        Jobs(options),
        policy,
        Datasets(kept, policy),
        DefaultDataset.of(settings.default_dataset, settings.default_dataset_schema),
        settings.accept_licenses,
    )


def _data_policy(settings: Settings) -> DataPolicy:
    return DataPolicy(
        data_roots=settings.data_folders,
        allow_private_networks=settings.allow_private_urls,
        object_store_prefixes=settings.object_store_prefixes,
        max_url_bytes=settings.max_url_bytes,
        url_timeout_s=settings.url_timeout_s,
        max_file_bytes=settings.max_file_bytes,
        max_series=settings.max_series,
        max_points=settings.max_points,
        default_timeout_s=settings.timeout_s,
        max_timeout_s=settings.max_timeout_s,
    )


def _sources(settings: Settings) -> SourceResolver:
    token = settings.hf_token
    return SourceResolver(
        local_roots=settings.local_folders,
        cache=settings.cache,
        hub=HubSettings(
            endpoint=settings.hf_endpoint,
            token=token.get_secret_value() if token else None,
            offline=settings.hf_offline,
            cache=settings.hf_cache,
        ),
        mlflow_tracking_uri=settings.mlflow_tracking_uri,
    )


def _child_options(
    spec: ModelSpec, settings: Settings, environment: Mapping[str, str]
) -> ChildOptions:
    available = cores()
    replicas = min(replicas_of(spec, settings, available), spec.max_replicas)
    return ChildOptions(
        python=str(interpreter_of(spec, settings)),
        replicas=replicas,
        threads=settings.threads or max(1, available // replicas),
        environment={**environment, "FORECAST_HOME": str(settings.home.absolute())},
        stop_s=settings.shutdown_s,
        max_call_s=_LONGEST_CALL_S,
    )


def interpreter_of(spec: ModelSpec, settings: Settings) -> Path:
    """Find the Python of a model: the one set, its environment's, or this process's own."""
    if chosen := settings.python.get(spec.model_id):
        return chosen
    if spec.environment == "shared":
        return Path(sys.executable)
    shared = Path(sys.prefix).resolve()
    return shared.with_name(f"{shared.name}-{spec.environment}") / "bin" / "python"


def replicas_of(spec: ModelSpec, settings: Settings, available: int) -> int:
    """Choose how many processes hold a model: one on a GPU, else one a core up to four."""
    if chosen := settings.model_replicas.get(spec.model_id, settings.replicas):
        return chosen
    return 1 if has_gpu() else min(available, _MOST_REPLICAS)


def _options(settings: Settings, keys: tuple[str, ...], preload: tuple[str, ...]) -> ApiOptions:
    return ApiOptions(
        version=__version__,
        api_keys=keys,
        max_body_bytes=settings.max_body_bytes,
        limits={
            "max_queue": settings.max_queue,
            "max_series": settings.max_series,
            "max_points": settings.max_points,
            "timeout_s": settings.timeout_s,
            "max_timeout_s": settings.max_timeout_s,
            "max_file_bytes": settings.max_file_bytes,
            "max_url_bytes": settings.max_url_bytes,
        },
        required_models=preload,
        aliases=settings.aliases,
        cors_origins=settings.cors_origins,
        compress_min_bytes=settings.compress_min_bytes,
        docs=settings.docs,
    )


def _lifespan(hosts: HostRegistry, preload: tuple[str, ...], jobs: Jobs | None = None) -> Lifespan:
    """Start the hosts, load what is wanted from the start, and close them in the end."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:  # noqa: ARG001 -- FastAPI passes it
        await hosts.start()
        if jobs is not None:
            await jobs.start()
        loading = [asyncio.create_task(_load(hosts[model_id])) for model_id in preload]
        try:
            yield
        finally:
            for task in loading:
                task.cancel()
            if jobs is not None:
                await jobs.close()
            await hosts.close()

    return lifespan


async def _load(host: Host) -> None:
    """Load the default weights; a model without any loads by itself when its host starts."""
    if host.spec.is_ready_at_once:
        return
    try:
        answer = await host.call(Call(Operation.INITIALIZATION, b"{}"))
    except ForecastError as error:
        log.warning("%s was not loaded: %s", host.spec.model_id, error)
        return
    if answer.status >= 300:
        log.warning("%s was not loaded: its host answered %s", host.spec.model_id, answer.status)
