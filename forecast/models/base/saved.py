"""The folder a model is saved in: config.json, training_metadata.json and weights/.

The configuration stands in `config.json` and nowhere else.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from forecast.core.errors import BadData
from forecast.models.base.config import ModelConfig
from forecast.models.base.training import TrainingRecord

CONFIG_FILE = "config.json"
TRAINING_FILE = "training_metadata.json"
WEIGHTS_FOLDER = "weights"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Saved:
    """What a folder holds.

    Attributes:
        config: the saved options; empty for a plain checkpoint.
        weights: the folder that the family's own library reads.
    """

    config: dict[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    training: TrainingRecord | None = None


def write(path: Path, model_id: str, config: ModelConfig, training: TrainingRecord | None) -> Path:
    """Write all but the weights, and give the empty folder for them."""
    weights = path / WEIGHTS_FOLDER
    weights.mkdir(parents=True)
    document = {
        "format_version": FORMAT_VERSION,
        "model_id": model_id,
        "config": config.model_dump(mode="json"),
    }
    (path / CONFIG_FILE).write_text(json.dumps(document, indent=2) + "\n")
    if training is not None:
        (path / TRAINING_FILE).write_text(training.model_dump_json(indent=2) + "\n")
    return weights


def read(path: Path, model_id: str) -> Saved:
    """Find what a folder holds: ours, or a plain checkpoint as its authors publish it.

    Raises:
        BadData: the folder holds another model, or a format this version cannot read.
    """
    if not (path / WEIGHTS_FOLDER).is_dir():
        return Saved(weights=path)
    document = _document(path / CONFIG_FILE)
    if document.get("format_version") != FORMAT_VERSION:
        raise BadData(
            f"the weights are of format {document.get('format_version')}; this version reads"
            f" format {FORMAT_VERSION}"
        )
    if document.get("model_id") != model_id:
        raise BadData(f"these are weights of {document.get('model_id')}, not {model_id}")
    return Saved(document["config"], path / WEIGHTS_FOLDER, _training(path / TRAINING_FILE))


def _document(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError) as error:
        raise BadData(f"{CONFIG_FILE} of the weights is missing or cannot be read") from error
    if not isinstance(document, dict) or not isinstance(document.get("config"), dict):
        raise BadData(f"{CONFIG_FILE} of the weights holds no configuration")
    return document


def _training(file: Path) -> TrainingRecord | None:
    if not file.exists():
        return None
    try:
        return TrainingRecord.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise BadData(f"{TRAINING_FILE} of the weights cannot be read") from error
