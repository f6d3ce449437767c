"""What the work of a job is given by the worker that runs it; it knows nothing of queues."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecast.core.errors import ForecastError
from forecast.jobs.records import JobError, JobProgress

LOG = "log.txt"

Step = Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]]
"""`step(name, work)`: do a piece of work once; asked again later, give its JSON of then."""


class Stopped(Exception):
    """The job is to be cancelled, and what ran for it has ended."""


class WorkFailed(Exception):
    """A piece of work cannot be done; `error` tells the caller why, and stays within the work.

    It is never raised through `step`: what a step says is JSON, `JobError` too.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.error = JobError(code=code, detail=detail)

    @classmethod
    def of(cls, error: ForecastError) -> "WorkFailed":
        """Take the words of an error of ours."""
        return cls(error.code, error.detail)


@dataclass(frozen=True, slots=True)
class JobContext:
    """One run of a job by one worker; `step` and `report` outlive the worker.

    Attributes:
        folder: of the job; `work/` in it is free for what is needed while it runs.
        step: does a piece of work durably: once, whatever is killed in between.
        report: tells how far the job is; cheap enough to be called often.
        should_stop: whether somebody wants the job cancelled; asked about once a second.
        deadline: `time.monotonic()` at which the job has taken too long; None for no limit.
    """

    job_id: str
    folder: Path
    step: Step
    report: Callable[[JobProgress], None]
    should_stop: Callable[[], bool]
    deadline: float | None = None

    @property
    def log(self) -> Path:
        """The log of the job: what its processes print."""
        return self.folder / LOG

    @property
    def work(self) -> Path:
        """A folder for what the job needs while it runs; it may not be there yet."""
        return self.folder / "work"

    @property
    def is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline
