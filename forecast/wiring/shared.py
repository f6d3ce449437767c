"""What a gateway, a host and a worker all build from the settings."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from forecast.data.policy import DataPolicy
from forecast.models.spec import ModelSpec
from forecast.settings import Settings
from forecast.store.config import StoreConfig
from forecast.store.sources import SourceResolver
from forecast.store.versions import ModelStore


def check_names(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names that there are not.

    Raises:
        ValueError: names them, and what there is.
    """
    there = list(known)
    unknown = [name for name in names if name not in there]
    if unknown:
        raise ValueError(
            f"{what} names {', '.join(unknown)}, which is not served; there are {', '.join(there)}"
        )


def data_policy(settings: Settings) -> DataPolicy:
    """Say what callers' data may be, and where it may lie."""
    roots = settings.data.data_roots or (settings.home / "data",)
    return settings.data.model_copy(update={"data_roots": roots})


def store_of(settings: Settings) -> ModelStore:
    """Build the store; nothing is read yet.

    Raises:
        ValueError: a setting of the store is wrong.
    """
    config = StoreConfig.read(settings.store_file, settings.store, root=settings.models_folder)
    return ModelStore(config)


def sources_of(settings: Settings, store: ModelStore) -> SourceResolver:
    """Build what turns the source of weights into a folder."""
    return SourceResolver(
        local_roots=settings.local_folders,
        cache=settings.cache,
        hub=settings.hub,
        mlflow_tracking_uri=settings.mlflow_tracking_uri,
        store=store,
    )


def operator_config(spec: ModelSpec, settings: Settings) -> dict[str, Any]:
    """Collect what only the operator sets of a model: the setting `<model_id>_<field>` of each."""
    found = {
        name: getattr(settings, f"{spec.model_id}_{name}") for name in spec.config.operator_fields
    }
    return {name: value for name, value in found.items() if value is not None}


def interpreter_of(spec: ModelSpec, settings: Settings) -> Path:
    """Find the Python of a model: the one set, its environment's, or this process's own."""
    if chosen := settings.python.get(spec.model_id):
        return chosen
    if spec.environment == "shared":
        return Path(sys.executable)
    shared = Path(sys.prefix).resolve()
    return shared.with_name(f"{shared.name}-{spec.environment}") / "bin" / "python"


def child_environment(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """Give a child what this process was told, with folders that mean the same from anywhere."""
    return {**environment, "FORECAST_HOME": str(Path(settings.home).absolute())}
