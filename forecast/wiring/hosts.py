"""Where each model lives: elsewhere, in this process, or in children of it."""

from collections.abc import Mapping

from forecast.core.machine import cores, has_gpu
from forecast.models.spec import ModelSpec
from forecast.serving.channel import RemoteHost
from forecast.serving.children import ChildHost
from forecast.serving.hosts import Host
from forecast.serving.supervisor import ChildOptions
from forecast.settings import Settings
from forecast.wiring.host import inline_host, keys_of
from forecast.wiring.shared import child_environment, interpreter_of

_MOST_REPLICAS = 4  # each holds the weights once more


def host_of(spec: ModelSpec, settings: Settings, environment: Mapping[str, str]) -> Host:
    """Choose where a model lives."""
    model_id = spec.model_id
    if url := settings.hosts.get(model_id):
        return RemoteHost(spec, url, api_key=keys_of(settings)[0])
    if {model_id, "all"} & set(settings.inline):
        return inline_host(spec, settings)
    return ChildHost(spec, _child_options(spec, settings, environment))


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
        stop_s=settings.serving.shutdown_s,
    )


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
