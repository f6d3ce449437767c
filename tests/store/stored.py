"""Versions that tests publish: small files in place of weights."""

from datetime import UTC, datetime
from pathlib import Path

from forecast.core.state import ModelMetadata
from forecast.store.config import StoreConfig
from forecast.store.versions import ModelShelf, ModelStore, Version

MODEL_ID = "toy"


def shelf_at(root: Path, **config: object) -> ModelShelf:
    """Give the shelf as a new process would have it."""
    return ModelStore(StoreConfig(root=root, **config)).model(MODEL_ID)


def publish(
    shelf: ModelShelf, name: str, content: str = "x", *, overwrite: bool = False, **metadata: object
) -> Version:
    with shelf.new_draft() as draft:
        (draft / "weights").mkdir()
        (draft / "config.json").write_text("{}")
        (draft / "weights" / "model.safetensors").write_text(content)
        made = ModelMetadata(model_id=MODEL_ID, version=name, **metadata)
        return shelf.publish(draft, made, overwrite=overwrite)


def publish_snapshot(shelf: ModelShelf, day: str, content: str = "x", **more: object) -> Version:
    cutoff = datetime.fromisoformat(day).replace(hour=23, minute=59, second=59, tzinfo=UTC)
    return publish(shelf, f"snapshot_{day}", content, kind="snapshot", cutoff=cutoff, **more)


def content(version: Version) -> str:
    return (version.path / "weights/model.safetensors").read_text()
