"""A store with tiny snapshots of the LSTM, whose weights are made up."""

import os
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from forecast.core.state import ModelMetadata
from forecast.models import MODEL_REGISTRY
from forecast.store.config import StoreConfig
from forecast.store.names import snapshot_name
from forecast.store.versions import ModelStore, Version
from forecast.training.child import ModelProcess

PROCESS = ModelProcess(Path(sys.executable), {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"})


def process_of(_):
    return PROCESS


def store_at(folder: Path) -> ModelStore:
    return ModelStore(StoreConfig(root=folder))


def end_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)


def publish_snapshot(store: ModelStore, year: int, cutoff: datetime | None = None) -> Version:
    """Publish a snapshot of the end of a year."""
    day = date(year, 12, 31)
    return publish(store, snapshot_name(day), cutoff or end_of(day), kind="snapshot")


def publish(
    store: ModelStore, name: str, cutoff: datetime | None, kind="version", **facts
) -> Version:
    shelf = store.model("lstm")
    with shelf.new_draft() as draft:
        MODEL_REGISTRY["lstm"].model_class().tiny().save_model(draft)
        metadata = ModelMetadata(model_id="lstm", version=name, kind=kind, cutoff=cutoff, **facts)
        return shelf.publish(draft, metadata)
