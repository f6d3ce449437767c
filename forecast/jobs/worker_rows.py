"""What a worker writes: that it lives, which jobs are its own, how far they are, how they ended.

A job belongs to one worker at a time; each change of it says whose it must be, so that nothing
is written by a worker that lost it.
"""

import json
from dataclasses import dataclass

import sqlalchemy as sa

from forecast.jobs.database import JOBS, WORKERS
from forecast.jobs.event_rows import append
from forecast.jobs.job_rows import UNDER_WAY, outcome_changes, tell_state
from forecast.jobs.records import FitResult, JobOutcome, JobProgress, JobState, finite, now

Seconds = sa.ColumnElement[float]


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker as the others see it.

    Attributes:
        id: of this process, of no other before or after.
        name: kept over restarts.
        slots: jobs that it runs at a time.
    """

    id: str
    name: str
    host: str
    slots: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that a worker may run now.

    Attributes:
        tries: times that it was begun, but for those that a worker handed over in order.
        spent_s: how long it ran before.
    """

    tries: int
    spent_s: float
    is_cancelling: bool


def arrive(connection: sa.Connection, worker: WorkerRow, clock: Seconds) -> None:
    """Make the row of a worker; one of its name before it is dead."""
    of_name = WORKERS.c.name == worker.name, WORKERS.c.host == worker.host
    connection.execute(sa.delete(WORKERS).where(*of_name))
    times = {"started_at": clock, "seen_at": clock}
    row = {"id": worker.id, "name": worker.name, "host": worker.host, "slots": worker.slots}
    connection.execute(sa.insert(WORKERS).values(**row, **times))


def beat(connection: sa.Connection, worker_id: str, clock: Seconds, passed_s: float) -> bool:
    """Say that a worker lives; False where the others gave it up."""
    seen = sa.update(WORKERS).where(WORKERS.c.id == worker_id).values(seen_at=clock)
    if not connection.execute(seen).rowcount:
        return False
    own = JOBS.c.worker == worker_id, JOBS.c.state.in_(UNDER_WAY)
    connection.execute(sa.update(JOBS).where(*own).values(spent_s=JOBS.c.spent_s + passed_s))
    return True


def leave(connection: sa.Connection, worker_id: str) -> None:
    """Hand over the jobs of a worker that ends in order, and take its row away."""
    own = JOBS.c.worker == worker_id, JOBS.c.state.in_(UNDER_WAY)
    connection.execute(sa.update(JOBS).where(*own).values(handed_over=JOBS.c.handed_over + 1))
    connection.execute(sa.delete(WORKERS).where(WORKERS.c.id == worker_id))


def bury(connection: sa.Connection, before: Seconds) -> None:
    """Take away the rows of workers that were not seen since; one that wakes up ends."""
    connection.execute(sa.delete(WORKERS).where(WORKERS.c.seen_at < before))


def claim(connection: sa.Connection, job_id: str, worker_id: str) -> Claim | None:
    """Make a job a worker's own; None where it is over or forgotten."""
    alive = JOBS.c.id == job_id, JOBS.c.state.in_((JobState.PENDING, *UNDER_WAY))
    cancelling = JOBS.c.state == JobState.CANCELLING
    changed = sa.update(JOBS).where(*alive)
    changed = changed.values(
        state=sa.case((cancelling, JobState.CANCELLING), else_=JobState.RUNNING),
        worker=worker_id,
        attempts=JOBS.c.attempts + 1,
        started_at=sa.func.coalesce(JOBS.c.started_at, now().timestamp()),
    )
    row = connection.execute(changed.returning(JOBS)).mappings().first()
    if row is None:
        return None
    tell_state(connection, job_id)
    tries = row["attempts"] - row["handed_over"]
    return Claim(tries, row["spent_s"], row["state"] == JobState.CANCELLING)


def held(connection: sa.Connection, worker_id: str) -> dict[str, str]:
    """Give the state of each job that is a worker's own and not over."""
    own = JOBS.c.worker == worker_id, JOBS.c.state.in_(UNDER_WAY)
    asked = sa.select(JOBS.c.id, JOBS.c.state).where(*own)
    return {row.id: row.state for row in connection.execute(asked)}


def tell_progress(
    connection: sa.Connection, job_id: str, worker_id: str, progress: JobProgress
) -> bool:
    """Write down how far a job is; False where it is not the worker's."""
    changed = _own(job_id, worker_id).values(progress=progress.model_dump_json())
    if not connection.execute(changed).rowcount:
        return False
    append(connection, job_id, "progress", json.loads(progress.model_dump_json()))
    return True


def tell_fit(connection: sa.Connection, job_id: str, worker_id: str, fit: FitResult) -> bool:
    """Store the result of a fit of a job, once; False where the job is not the worker's."""
    of_job = sa.select(JOBS.c.outcome).where(JOBS.c.id == job_id)
    outcome = json.loads(connection.execute(of_job).scalar() or "{}")
    windows = outcome.setdefault("windows", [])
    if any(earlier["window"] == fit.window for earlier in windows):
        return job_id in held(connection, worker_id)
    windows.append(finite(fit).model_dump(mode="json"))
    changed = _own(job_id, worker_id).values(outcome=json.dumps(outcome))
    if not connection.execute(changed).rowcount:
        return False
    tell_state(connection, job_id)
    return True


def finish(connection: sa.Connection, job_id: str, worker_id: str, outcome: JobOutcome) -> bool:
    """Write down how a job ended; False where it is not the worker's."""
    of_job = sa.select(JOBS.c.outcome).where(JOBS.c.id == job_id)
    before = json.loads(connection.execute(of_job).scalar() or "{}")
    warnings = dict.fromkeys([*before.get("warnings", ()), *outcome.warnings])
    kept = {"windows": before.get("windows", ())} if not outcome.windows else {}
    whole = JobOutcome.model_validate(outcome.model_dump() | kept | {"warnings": tuple(warnings)})
    changed = _own(job_id, worker_id).values(**outcome_changes(whole))
    if not connection.execute(changed).rowcount:
        return False
    tell_state(connection, job_id)
    return True


def _own(job_id: str, worker_id: str) -> sa.Update:
    own = JOBS.c.id == job_id, JOBS.c.worker == worker_id, JOBS.c.state.in_(UNDER_WAY)
    return sa.update(JOBS).where(*own)
