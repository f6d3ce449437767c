"""The application of the gateway: every model served, wherever it lives."""

from collections.abc import Mapping

from fastapi import FastAPI

from forecast.api.app import create_app
from forecast.models import MODEL_REGISTRY
from forecast.models.spec import ModelSpec
from forecast.serving.registry import HostRegistry
from forecast.settings import Settings
from forecast.wiring.host import keys_of, lifespan_of, options_of
from forecast.wiring.hosts import host_of
from forecast.wiring.shared import check_names
from forecast.wiring.training import training_parts


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
    options = options_of(settings, keys_of(settings), preload)
    parts = training_parts(settings, environment)
    lifespan = lifespan_of(hosts, preload, parts.running())
    return create_app(hosts, options, lifespan, parts.training, parts.versions, parts.checks)


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
