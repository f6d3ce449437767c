"""Where each model lives: elsewhere, in this process, or in children of it."""

from collections.abc import Mapping
from pathlib import Path

from forecast.core.machine import cores, has_gpu
from forecast.data.requests import RequestReader
from forecast.keys import kept_key
from forecast.models.spec import ModelSpec
from forecast.serving.channel import RemoteHost
from forecast.serving.children import ChildHost
from forecast.serving.cores import CoreBoard
from forecast.serving.hosts import Host
from forecast.serving.inline import InlineHost
from forecast.serving.loaded import QueueLimits
from forecast.serving.service import ModelService
from forecast.serving.supervisor import ChildOptions
from forecast.settings import Settings
from forecast.wiring.shared import (
    data_policy,
    interpreter_of,
    operator_config,
    sources_of,
    store_of,
)

_MOST_REPLICAS = 4  # each holds the weights once more


def keys_of(settings: Settings) -> tuple[str, ...]:
    """List the keys of this deployment; one is made and kept where none is set."""
    if settings.api_key is None:
        return (kept_key(settings.home),)
    return tuple(key.strip() for key in settings.api_key.get_secret_value().split(","))


def host_of(spec: ModelSpec, settings: Settings, environment: Mapping[str, str]) -> Host:
    """Choose where a model lives."""
    model_id = spec.model_id
    if url := settings.hosts.get(model_id):
        return RemoteHost(spec, url, api_key=keys_of(settings)[0])
    if {model_id, "all"} & set(settings.inline):
        return inline_host(spec, settings)
    return ChildHost(spec, _child_options(spec, settings, environment))


def inline_host(spec: ModelSpec, settings: Settings, board: CoreBoard | None = None) -> InlineHost:
    """Hold a model in this process."""
    service = ModelService(
        spec,
        sources_of(settings, store_of(settings)),
        QueueLimits(
            max_queue=settings.max_queue,
            drain_s=settings.shutdown_s,
            max_versions=settings.versions_loaded,
            versions_bytes=settings.versions_bytes,
        ),
        accept_license=bool({spec.model_id, "all"} & set(settings.accept_licenses)),
        operator_config=operator_config(spec, settings),
        board=board,
    )
    return InlineHost(service, RequestReader(data_policy(settings)))


def _child_options(
    spec: ModelSpec, settings: Settings, environment: Mapping[str, str]
) -> ChildOptions:
    available = cores()
    replicas = min(replicas_of(spec, settings, available), spec.max_replicas)
    return ChildOptions(
        python=str(interpreter_of(spec, settings)),
        replicas=replicas,
        threads=settings.threads or max(1, available // replicas),
        environment=_without_preload(child_environment(settings, environment)),
        stop_s=settings.shutdown_s,
    )


def child_environment(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """Give a child what this process was told, with folders that mean the same from anywhere."""
    return {**environment, "FORECAST_HOME": str(Path(settings.home).absolute())}


def _without_preload(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave the first load to the gateway: a child that began one too would refuse it as busy."""
    return {
        name: value for name, value in environment.items() if name.upper() != "FORECAST_PRELOAD"
    }


def replicas_of(spec: ModelSpec, settings: Settings, available: int) -> int:
    """Choose how many processes hold a model: one on a GPU, else one a core up to four."""
    if chosen := settings.model_replicas.get(spec.model_id, settings.replicas):
        return chosen
    return 1 if has_gpu() else min(available, _MOST_REPLICAS)
