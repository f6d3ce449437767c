"""Small versions and snapshots in a store of a test."""

import json
from datetime import UTC, date, datetime, time
from pathlib import Path

from forecast.core.state import ModelMetadata
from forecast.store.config import StoreConfig
from forecast.store.names import snapshot_day
from forecast.store.versions import ModelShelf, ModelStore, Version
from tests.fakes.checkpoint import safetensors, write

CONFIG = {"context_length": 52, "optimizer": {"lr": 0.001, "betas": [0.9, 0.99]}, "seed": None}


def shelf_in(root: Path, model_id: str = "lstm") -> ModelShelf:
    return ModelStore(StoreConfig(root=root)).model(model_id)


def publish(shelf: ModelShelf, name: str, value: float = 1.0, **fields: object) -> Version:
    """Publish weights of one number; a date in the name makes it that day's snapshot."""
    day = snapshot_day(name)
    metadata = metadata_of(shelf.model_id, name, day, fields)
    with shelf.new_draft() as draft:
        write(draft, files_of(metadata, value))
        return shelf.publish(draft, metadata, overwrite=True)


def files_of(metadata: ModelMetadata, value: float) -> dict[str, bytes]:
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "training_metadata.json": metadata.model_dump_json().encode(),
        "weights/model.safetensors": safetensors(value),
        "weights/head.safetensors": safetensors(value + 0.5),
    }


def metadata_of(
    model_id: str, name: str, day: date | None, fields: dict[str, object]
) -> ModelMetadata:
    cutoff = datetime.combine(day, time(23, 59, 59), UTC) if day else None
    return ModelMetadata(
        model_id=model_id,
        version=name,
        **{
            "kind": "snapshot" if day else "version",
            "cutoff": cutoff,
            "metrics": {"validation_loss": 0.25},
            "data_sha256": "d" * 64,
            "config_sha256": "c" * 64,
            "git_commit": "a" * 40,
        }
        | fields,
    )
