"""The folder a model is saved in, the record of its training, and folders as authors publish them.

A saved model has config.json, training_metadata.json and weights/. Its configuration is in
`config.json` and nowhere else.
"""

import hashlib
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

import forecast
from forecast.core.errors import BadData
from forecast.core.times import to_utc
from forecast.core.types import Series
from forecast.models.base.config import ModelConfig, TrainingMode

CONFIG_FILE = "config.json"
TRAINING_FILE = "training_metadata.json"
WEIGHTS_FOLDER = "weights"
FORMAT_VERSION = 1
_GIT_S = 5.0
_LIBRARIES = ("numpy", "torch", "transformers", "peft", "accelerate", "neuralforecast")
_PICKLED = ("*.bin", "*.pt", "*.ckpt")


class Progress(BaseModel):
    """One report of a training: where it is, and how it goes.

    Attributes:
        of: steps in all, as far as they are known.
        loss: mean over the steps since the last report.
        validation_loss: over all validation windows, where there are any.
    """

    model_config = ConfigDict(frozen=True)

    phase: str = "training"
    step: int
    of: int | None = None
    epoch: int | None = None
    loss: float | None = None
    validation_loss: float | None = None


OnProgress = Callable[[Progress], bool | None]
"""Hears every report; answering False ends the training, with the best weights so far."""


class TrainingLength(BaseModel):
    """How long weights were trained.

    Attributes:
        steps: taken by the weights that were kept.
        planned: that the learning-rate schedule was laid out over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int
    planned: int


class TrainingResult(BaseModel):
    """What a family's `_fit` says when it is over.

    Attributes:
        history: one entry a report, e.g. {"step": 100, "epoch": 1, "loss": 0.3}.
        best_metrics: e.g. {"validation_loss": 0.2}.
        length: of the training; None where a family does not train in steps.
    """

    model_config = ConfigDict(frozen=True)

    history: tuple[dict[str, float], ...] = ()
    best_metrics: dict[str, float] = {}
    length: TrainingLength | None = None


class TrainingRecord(BaseModel):
    """`training_metadata.json`: everything about a training but its configuration.

    Attributes:
        cutoff: when the newest step that was learned from was known, validation included.
        length: how many steps the weights were trained for; None where not counted in steps.
        refit: learned again on all data, validation included, for the steps that validation chose;
            metrics and history are those of the fit that was validated.
        data_sha256: of the values, names and times of the series, in order.
        data_reference: where the data came from, in the caller's words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: dict[str, float]
    history: tuple[dict[str, float], ...]
    length: TrainingLength | None = None
    refit: bool = False
    mode: TrainingMode
    started_at: datetime
    finished_at: datetime
    seed: int | None
    cutoff: datetime | None
    item_ids: tuple[str, ...]
    num_points: int
    data_sha256: str
    data_reference: str | None
    git_commit: str | None
    git_dirty: bool | None
    library_versions: dict[str, str]

    @classmethod
    def of(
        cls,
        result: TrainingResult,
        series: Sequence[Series],
        *,
        started_at: datetime,
        **facts: Any,
    ) -> "TrainingRecord":
        """Describe a training that has just ended, with the data it saw."""
        commit, dirty = _git()
        return cls(
            metrics=result.best_metrics,
            history=result.history,
            length=result.length,
            started_at=started_at,
            finished_at=datetime.now(UTC),
            cutoff=_cutoff(series),
            item_ids=tuple(dict.fromkeys(one.item_id for one in series)),
            num_points=sum(one.target.size for one in series),
            data_sha256=data_sha256(series),
            git_commit=commit,
            git_dirty=dirty,
            library_versions=_library_versions(),
            **facts,
        )


def data_sha256(series: Sequence[Series]) -> str:
    """Hash values, names and times: equal data, equal hash, whatever file it came from."""
    digest = hashlib.sha256()
    for one in series:
        freq = one.freq.alias if one.freq else None
        of = (one.item_id, one.channels, one.target.shape, str(one.start), freq, one.clock)
        digest.update(repr(of).encode())
        digest.update(np.ascontiguousarray(one.target, dtype="<f8").tobytes())
        for covariates in (one.past_covariates, one.future_covariates, one.static_covariates):
            _hash_covariates(digest, covariates)
    return digest.hexdigest()


def _hash_covariates(digest: "hashlib._Hash", covariates: Mapping[str, Any]) -> None:
    for name in sorted(covariates):
        digest.update(name.encode())
        digest.update(repr(np.asarray(covariates[name]).tolist()).encode())


def _cutoff(series: Sequence[Series]) -> datetime | None:
    ends = [known[-1] for one in series if (known := one.known_from) is not None]
    return to_utc(max(ends)) if ends else None


def _library_versions() -> dict[str, str]:
    versions = {"forecast": forecast.__version__}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _git() -> tuple[str | None, bool | None]:
    """Find the commit of this code, and whether files differ from it; None outside git."""
    root = Path(forecast.__file__).parents[1]
    if not (root / ".git").exists():
        return None, None
    try:
        commit = _ask_git(root, "rev-parse", "HEAD")
        return commit, bool(_ask_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _ask_git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_GIT_S)
    return answer.stdout.strip()


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


def refuse_unreadable(path: Path) -> None:
    """Refuse a folder whose weights cannot be read safely, or not by themselves.

    Raises:
        BadData: an adapter without its base, pickled weights only, or none; says what to do.
    """
    if (path / "adapter_config.json").exists():
        raise BadData("this is a LoRA adapter; merge it into its base model and load the result")
    if any(path.glob("*.safetensors")):
        return
    if any(file for pattern in _PICKLED for file in path.glob(pattern)):
        raise BadData(
            "the checkpoint holds pickled weights only, and loading those can run any code;"
            " convert it to model.safetensors, with save_pretrained, and load that"
        )
    raise BadData("the checkpoint holds no model.safetensors")


def config_of(path: Path) -> dict[str, Any]:
    """Read the authors' config.json.

    Raises:
        BadData: it is missing, or no JSON object.
    """
    try:
        config = json.loads((path / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise BadData("the checkpoint holds no config.json that can be read") from error
    if not isinstance(config, dict):
        raise BadData("the checkpoint's config.json is no JSON object")
    return config
