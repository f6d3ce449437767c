"""A real store with tiny LSTMs in it: snapshots and a version, each with its own weights."""

from datetime import UTC, date, datetime
from pathlib import Path

from forecast.core.state import ModelMetadata
from forecast.data.policy import DataPolicy
from forecast.data.requests import RequestReader
from forecast.models import MODEL_REGISTRY
from forecast.serving.inline import InlineHost
from forecast.serving.limits import ServingLimits
from forecast.serving.service import ModelService
from forecast.store.config import StoreConfig
from forecast.store.hub_settings import HubSettings
from forecast.store.names import snapshot_name
from forecast.store.sources import SourceResolver
from forecast.store.versions import ModelShelf, ModelStore, Version

YEARS = (2019, 2020, 2021)


def store_in(folder: Path) -> ModelStore:
    return ModelStore(StoreConfig(root=folder / "models"))


def publish(shelf: ModelShelf, scale: float, **metadata: object) -> Version:
    """Publish a tiny model whose weights, and so forecasts, are its own."""
    model = MODEL_REGISTRY[shelf.model_id].model_class().tiny()
    for weights in model.network.parameters():
        weights.data.mul_(scale)
    overwrite = bool(metadata.pop("overwrite", False))
    described = ModelMetadata(model_id=shelf.model_id, **metadata)  # type: ignore[arg-type]
    with shelf.new_draft() as draft:
        model.save_model(draft)
        return shelf.publish(draft, described, overwrite=overwrite)


def publish_snapshot(shelf: ModelShelf, year: int) -> Version:
    return publish(
        shelf,
        scale=1 + (year - 2018) / 10,
        version=snapshot_name(date(year, 12, 31)),
        kind="snapshot",
        cutoff=datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC),
    )


def filled(folder: Path, years: tuple[int, ...] = YEARS) -> ModelStore:
    """Make a store whose `lstm` has snapshots of some years, and a newer `current` version."""
    store = store_in(folder)
    shelf = store.model("lstm")
    for year in years:
        publish_snapshot(shelf, year)
    publish(shelf, 0.5, version="v1.0", cutoff=datetime(2022, 6, 30, 23, 59, 59, tzinfo=UTC))
    shelf.aliases.set("current", "v1.0", who="a test", why="the first")
    return store


def service_of(
    store: ModelStore | None, folder: Path, model_id: str = "lstm", **limits: int
) -> ModelService:
    sources = SourceResolver(
        local_roots=[folder],
        cache=folder / "cache",
        hub=HubSettings(hf_offline=True),
        mlflow_tracking_uri=None,
        store=store,
    )
    return ModelService(MODEL_REGISTRY[model_id], sources, ServingLimits(shutdown_s=10, **limits))


def host_of(store: ModelStore | None, folder: Path, model_id: str = "lstm") -> InlineHost:
    policy = DataPolicy(data_roots=(folder,))
    return InlineHost(service_of(store, folder, model_id), RequestReader(policy))
