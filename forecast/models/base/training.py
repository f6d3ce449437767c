"""What training reports while it runs, and what is written about it when it is over."""

import hashlib
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

import forecast
from forecast.core.times import to_utc
from forecast.core.types import Series
from forecast.models.base.config import TrainingMode

_GIT_S = 5.0
_LIBRARIES = ("numpy", "torch", "transformers", "peft", "accelerate", "neuralforecast")


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
