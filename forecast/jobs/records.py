"""What callers see of a job: its state, its progress, its events."""

import math
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from forecast.core.errors import ForecastError


class JobKind(StrEnum):
    TRAINING = "training"
    BACKTEST = "backtest"


class JobState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class Record(BaseModel):
    """A snapshot of something that changes; never edited itself."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class JobError(Record):
    """Why a job failed; `code` as in an error of the API."""

    code: str
    detail: str

    @classmethod
    def of(cls, error: ForecastError) -> "JobError":
        return cls(code=error.code, detail=error.detail)


class JobProgress(Record):
    """The last report of what runs.

    Attributes:
        phase: such as `training`, `evaluating`, `publishing`, `syncing`.
        window: which part of the job: `current`, a snapshot's cutoff, a backtest's origin.
        window_number: of the window among all of the job, from 1.
        step: of `of` steps in this window, as far as they are known.
        eta_s: seconds until the job is over, guessed from the windows and steps so far.
        memory_bytes: of the process that works, and all it started.
    """

    phase: str
    window: str | None = None
    window_number: int | None = None
    windows: int | None = None
    step: int | None = None
    of: int | None = None
    epoch: int | None = None
    loss: float | None = None
    validation_loss: float | None = None
    eta_s: float | None = None
    memory_bytes: int | None = None


class FitResult(Record):
    """The result of one fit of a job.

    Attributes:
        window: `current`, or the cutoff of a snapshot such as `2020-12-31`.
        state: `skipped` where the store held it already.
        version: its name in the store.
    """

    window: str
    state: Literal["trained", "skipped"]
    version: str
    cutoff: datetime | None = None
    metrics: dict[str, float] = {}
    seconds: float | None = None
    detail: str | None = None


class Job(Record):
    """A job, as it was when asked.

    Attributes:
        windows: the fits that are over, in order; of a training.
        version: the version that a training published, for `store:<version>`.
        message: one line about how it ended, such as that there was nothing to do.
        retry_of: the job that this one does again.
        attempts: times that a worker began or took it up again.
    """

    id: str
    kind: JobKind
    model_id: str
    state: JobState = JobState.PENDING
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    progress: JobProgress | None = None
    windows: tuple[FitResult, ...] = ()
    metrics: dict[str, float] = {}
    version: str | None = None
    source: str | None = None
    message: str | None = None
    error: JobError | None = None
    warnings: tuple[str, ...] = ()
    retry_of: str | None = None
    attempts: int = 0


class JobEvent(Record):
    """Something that happened to a job; `id` grows from 1 by 1 within the job.

    Attributes:
        data: of `progress` a JobProgress, of `state` and `done` the Job, of `log` {"line": …}.
    """

    id: int
    kind: Literal["progress", "log", "state", "done"]
    at: datetime
    data: dict[str, Any]


class JobFilter(Record):
    """Which jobs to list, newest first; None is any.

    Attributes:
        before: id of a job; only jobs older than it.
    """

    model_id: str | None = None
    kind: JobKind | None = None
    state: JobState | None = None
    limit: int = Field(100, ge=1, le=1000)
    before: str | None = None


class JobOutcome(Record):
    """How the work of a job ended; what the worker hands back."""

    state: Literal["succeeded", "failed", "cancelled"]
    windows: tuple[FitResult, ...] = ()
    metrics: dict[str, float] = {}
    version: str | None = None
    message: str | None = None
    error: JobError | None = None
    warnings: tuple[str, ...] = ()


Measured = TypeVar("Measured", FitResult, JobOutcome)


def finite(record: Measured) -> Measured:
    """Leave out metrics that are no finite number: JSON has none."""
    metrics = {name: value for name, value in record.metrics.items() if math.isfinite(value)}
    return record.model_copy(update={"metrics": metrics})


def now() -> datetime:
    return datetime.now(UTC)
