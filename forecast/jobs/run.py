"""One run of a job by this worker: its durable steps, its progress, whether it is to stop."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import sqlalchemy as sa
from dbos import DBOS

from forecast.jobs import worker_rows
from forecast.jobs.context import JobContext, Work
from forecast.jobs.event_rows import append
from forecast.jobs.log_tail import LogTail
from forecast.jobs.records import FitResult, JobOutcome, JobProgress, JobState

log = logging.getLogger(__name__)

_DATABASE_PAUSE_S = 0.5

Lost = Callable[[str], NoReturn]
"""Ends this process, which has no right to go on; does not return."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose a run is.

    Attributes:
        check: called before and after each piece of work; does not return where this worker
            is on its way out.
    """

    worker_id: str
    engine: sa.Engine
    check: Callable[[], None]
    lost: Lost

    def change(self, change: Callable[[sa.Connection], bool], job_id: str) -> None:
        """Change a job in a transaction, if it is still this worker's; wait for the database."""
        while True:
            self.check()
            try:
                with self.engine.begin() as connection:
                    own = change(connection)
            except sa.exc.OperationalError as error:
                log.warning("the database of the jobs failed: %s", error.orig)
                time.sleep(_DATABASE_PAUSE_S)
                continue
            if not own:
                self.lost(f"job {job_id} was taken up by another worker")
            return


class Run:
    """What a job is told and tells while it runs. Safe from any thread."""

    def __init__(
        self, job_id: str, folder: Path, holder: Holder, claim: worker_rows.Claim, limit_s: float
    ) -> None:
        self.job_id = job_id
        self.is_over = False
        self._holder = holder
        self._cancelled = threading.Event()
        self._lock = threading.Lock()  # guards the two progresses
        self._told: JobProgress | None = None
        self._waiting: JobProgress | None = None
        self._tail = LogTail(folder)
        if claim.is_cancelling:
            self._cancelled.set()
        self.context = JobContext(
            job_id=job_id,
            folder=folder,
            remember=self._remember,
            report=self._report,
            should_stop=self._should_stop,
            record_fit=self._record_fit,
            deadline=time.monotonic() + limit_s - claim.spent_s,
        )

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked to cancel it."""
        return self._cancelled.is_set()

    def follow(self, states: dict[str, str]) -> None:
        """Read whether the job is to stop, and write down what it told meanwhile.

        Args:
            states: of the jobs that are this worker's own.
        """
        if self.is_over:
            return
        if self.job_id not in states:
            self._holder.lost(f"job {self.job_id} was taken up by another worker")
        if states[self.job_id] == JobState.CANCELLING:
            self._cancelled.set()
        lines = self._tail.lines()
        if lines or self._waiting is not None:
            self._change(lambda connection: self._flush(connection, lines))

    def finish(self, outcome: JobOutcome) -> None:
        """Write down the end of the job, after all that it told before."""
        self._holder.check()
        self.is_over = True
        lines = self._tail.lines()

        def end(connection: sa.Connection) -> bool:
            self._flush(connection, lines)
            return worker_rows.finish(connection, self.job_id, self._holder.worker_id, outcome)

        self._change(end)

    def _should_stop(self) -> bool:
        return self.is_cancelled or self.context.is_late

    def _report(self, progress: JobProgress) -> None:
        """Keep the last report for the next round; a new window or phase is told at once."""
        with self._lock:
            before = self._waiting or self._told
            is_new = before is None or _place(before) != _place(progress)
            if not is_new:
                self._waiting = progress
        if is_new:
            self._change(lambda connection: self._flush(connection, (), progress))

    def _flush(
        self, connection: sa.Connection, lines: Sequence[str], new: JobProgress | None = None
    ) -> bool:
        """Write down what waits, and then what is new; False where the job is not ours."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
            self._told = new or waiting or self._told
        me = self._holder.worker_id
        for line in lines:
            append(connection, self.job_id, "log", {"line": line})
        return all(
            worker_rows.tell_progress(connection, self.job_id, me, progress)
            for progress in (waiting, new)
            if progress is not None
        )

    def _remember(self, name: str, work: Work) -> dict[str, Any]:
        """Do a piece of work once, or return what is stored of it."""
        self._check()

        def done() -> dict[str, Any]:
            answer = work()
            self._check()
            return answer

        answer: dict[str, Any] = DBOS.run_step({"name": name}, done)
        return answer

    def _check(self) -> None:
        """Go on only as long as the job is this worker's."""
        me = self._holder.worker_id
        self._change(lambda connection: self.job_id in worker_rows.held(connection, me))

    def _record_fit(self, fit: FitResult) -> None:
        """Store the result of a fit, after the progress that came before it."""
        me = self._holder.worker_id

        def end(connection: sa.Connection) -> bool:
            self._flush(connection, ())
            return worker_rows.tell_fit(connection, self.job_id, me, fit)

        self._change(end)

    def _change(self, change: Callable[[sa.Connection], bool]) -> None:
        self._holder.change(change, self.job_id)


def _place(progress: JobProgress) -> tuple[str, str | None]:
    return progress.phase, progress.window
