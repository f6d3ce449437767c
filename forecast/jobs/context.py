"""What a worker gives the work of a job: durable steps, progress and the wish to stop."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forecast.core.errors import DeadlinePassed, ForecastError, error_of
from forecast.jobs.log_file import JobLog
from forecast.jobs.records import FitResult, JobError, JobProgress

LOG = "log.txt"

Work = Callable[[], dict[str, Any]]
Remember = Callable[[str, Work], dict[str, Any]]
"""`remember(name, work)`: do work once and store its JSON; asked again, return the stored JSON."""


class Stopped(Exception):
    """The job is being cancelled, and every process that ran for it has ended."""


def ignore_progress(progress: JobProgress) -> None:
    """Take a progress report and do nothing with it."""


def ignore_fit(fit: FitResult) -> None:
    """Take the result of a fit and do nothing with it."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """One run of a job by one worker.

    Attributes:
        folder: of the job; `work/` in it is free for what is needed while the job runs.
        remember: makes work durable; use `step`, which also handles errors and cancellation.
        report: takes a progress report; cheap enough to be called often.
        should_stop: whether the job is to end now.
        record_fit: stores the result of a fit in the job's record.
        deadline: `time.monotonic()` at which the job has taken too long; None for no limit.
    """

    job_id: str
    folder: Path
    remember: Remember
    report: Callable[[JobProgress], None]
    should_stop: Callable[[], bool]
    record_fit: Callable[[FitResult], None] = ignore_fit
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

    def step(self, name: str, work: Work) -> dict[str, Any]:
        """Do a piece of work once; after a restart, return what it returned before.

        Raises:
            Stopped: the job is being cancelled.
            DeadlinePassed: the job has taken too long.
            ForecastError: the work failed, now or before the restart.
        """
        if self.should_stop():
            raise Stopped
        if self.is_late:
            raise DeadlinePassed("the job took longer than it may")
        answer = self.remember(name, lambda: self._answer(name, work))
        if "stopped" in answer:
            raise Stopped
        if "error" in answer:
            raise error_of(**answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def _answer(self, name: str, work: Work) -> dict[str, Any]:
        """Do the work; its result or its failure becomes JSON, so that both can be stored."""
        log = JobLog(self.log)
        log.line(f"begin: {name}")
        try:
            return {"result": work()}
        except Stopped:
            return {"stopped": True}
        except ForecastError as error:
            log.line(f"{name} failed: {error}")
            return {"error": JobError.of(error).model_dump()}
