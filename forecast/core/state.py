"""What is written about a model: whose it is, what it has seen, and how far its training is.

Each document carries the version of its format; `migrated` brings an older one up to date.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from forecast.core.lookahead import Provenance
from forecast.core.times import Moment

Migration = Callable[[dict[str, Any]], dict[str, Any]]
MIGRATIONS: Sequence[Migration] = ()
"""The first makes format 2 of format 1, the second format 3 of format 2, and so on."""

FORMAT_VERSION = len(MIGRATIONS) + 1


def migrated(
    document: dict[str, Any], migrations: Sequence[Migration] = MIGRATIONS
) -> dict[str, Any]:
    """Bring a document up to the format of this program.

    Raises:
        ValueError: it is of a later format, or of none.
    """
    version, latest = document.get("format_version"), len(migrations) + 1
    if type(version) is not int or not 1 <= version <= latest:
        raise ValueError(
            f"format {version} is not known; this program reads formats up to {latest}"
        )
    for number, migration in enumerate(migrations[version - 1 :], start=version + 1):
        document = migration(document) | {"format_version": number}
    return document


def _finite(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


Metrics = Annotated[dict[str, float], AfterValidator(_finite)]


class TrainingState(BaseModel):
    """How far a training is; the tensors lie in the files that it names.

    Attributes:
        best_metric: the best validation loss so far; None before the first.
        random_states: names of the generators whose states are in `state_file`.
        state_file: holds weights, optimiser and random states, beside this document.
        identity: hash of what the training started from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    global_step: int = Field(ge=0)
    epoch: int = Field(ge=0)
    best_metric: float | None = None
    metric: str = "validation_loss"
    random_states: tuple[str, ...] = ()
    optimizer: str | None = None
    state_file: str = Field(pattern=r"^[\w-][\w.-]*$")
    identity: str


class Comparison(BaseModel):
    """How a version did beside the one that was current, on steps that neither has seen.

    Attributes:
        version: that it was compared with.
        seen: up to when that one had seen data; what is compared on is newer.
        horizon: steps forecast from each origin.
        origins: of all series together.
        candidate: metrics of the version itself, before it was refitted on all data.
        current: metrics of the other.
        failed: why they could not be compared; None where they were.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    seen: Moment
    horizon: int
    origins: int
    candidate: Metrics = {}
    current: Metrics = {}
    failed: str | None = None


class ModelMetadata(BaseModel):
    """Whose weights these are, and all that they have seen.

    Attributes:
        version: its name in the store.
        kind: `version`, or `snapshot` of a past date.
        cutoff: nothing later had any part in it; None where not known.
        provenance: until when the data was, and all foreign weights that it descends from.
        metrics: such as {"validation_loss": 0.2}; those that are not finite are left out.
        steps: that the weights were trained for; None where training is not counted in steps.
        refit: learned again on all data for as many steps as validation chose.
        comparison: with the version that was current; None where there was none.
        source: of the weights that training started from; None for nothing.
        data_sha256: of the data after the cut.
        config_sha256: of the configuration it was trained with.
        job_id: the job that made it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_id: str
    version: str
    kind: Literal["version", "snapshot"] = "version"
    created_at: Moment = Field(default_factory=lambda: datetime.now(UTC))
    trained_at: Moment | None = None
    cutoff: Moment | None = None
    provenance: Provenance = Provenance()
    metrics: Metrics = {}
    steps: int | None = None
    refit: bool = False
    comparison: Comparison | None = None
    item_ids: tuple[str, ...] = ()
    num_points: int | None = None
    data_reference: str | None = None
    data_sha256: str | None = None
    config_sha256: str | None = None
    source: str | None = None
    git_commit: str | None = None
    job_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_provenance(cls, document: Any) -> Any:
        """Tell the provenance of an older document, as far as it is known."""
        if not isinstance(document, dict) or document.get("provenance") is not None:
            return document
        cutoff, source = document.get("cutoff"), document.get("source")
        known = {
            "seen_until": cutoff,
            "is_dated": cutoff is not None,
            "roots": [{"source": source}] if source else [],
        }
        return document | {"provenance": known}

    @property
    def cutoff_date(self) -> date | None:
        return self.cutoff.date() if self.cutoff else None


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model as it lies on a disk: its folder, what it is, and where its training stands.

    Attributes:
        training: of an unfinished training; None for one that is over.
    """

    path: Path
    metadata: ModelMetadata
    training: TrainingState | None = None
