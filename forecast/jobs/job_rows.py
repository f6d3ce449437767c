"""Jobs as rows: made, found, changed; each change and the event that tells of it are one commit."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from forecast.jobs.database import EVENTS, JOBS, WORKERS
from forecast.jobs.event_rows import append
from forecast.jobs.records import Job, JobError, JobFilter, JobKind, JobOutcome, JobState, now

UNDER_WAY = (JobState.RUNNING, JobState.CANCELLING)
OVER = tuple(state for state in JobState if state.is_over)


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job before it has a row.

    Attributes:
        idempotency_key: digest of the caller's key; unique.
        warnings: about what was asked; the outcome adds its own.
    """

    id: str
    kind: JobKind
    model_id: str
    idempotency_key: str | None = None
    body_sha256: str | None = None
    retry_of: str | None = None
    warnings: tuple[str, ...] = ()


def insert(connection: sa.Connection, job: NewJob) -> Job:
    """Make the row of a job, which waits.

    Raises:
        IntegrityError: a job of this idempotency key is there.
    """
    connection.execute(
        sa.insert(JOBS).values(
            id=job.id,
            kind=job.kind,
            model_id=job.model_id,
            state=JobState.PENDING,
            created_at=now().timestamp(),
            idempotency_key=job.idempotency_key,
            body_sha256=job.body_sha256,
            retry_of=job.retry_of,
            outcome=json.dumps({"warnings": job.warnings}),
        )
    )
    return tell_state(connection, job.id)


def find(connection: sa.Connection, job_id: str) -> Job | None:
    """Look at a job; None where there is none of this id."""
    row = connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id)).mappings().first()
    return job_of(row) if row else None


def find_by_key(connection: sa.Connection, key: str) -> tuple[Job, str | None] | None:
    """Find the job of an idempotency key, and the digest of the body that came with it."""
    asked = sa.select(JOBS).where(JOBS.c.idempotency_key == key)
    row = connection.execute(asked).mappings().first()
    return (job_of(row), row["body_sha256"]) if row else None


def listed(connection: sa.Connection, wanted: JobFilter) -> list[Job]:
    """List jobs, newest first."""
    asked = sa.select(JOBS).order_by(JOBS.c.created_at.desc(), JOBS.c.id.desc())
    for name in ("model_id", "kind", "state"):
        if (value := getattr(wanted, name)) is not None:
            asked = asked.where(JOBS.c[name] == value)
    if wanted.before is not None:
        mark = sa.select(JOBS.c.created_at).where(JOBS.c.id == wanted.before).scalar_subquery()
        earlier = sa.and_(JOBS.c.created_at == mark, JOBS.c.id < wanted.before)
        asked = asked.where(sa.or_(JOBS.c.created_at < mark, earlier))
    return [job_of(row) for row in connection.execute(asked.limit(wanted.limit)).mappings()]


def counts(connection: sa.Connection) -> dict[str, int]:
    """Count the jobs that wait and that run."""
    asked = sa.select(JOBS.c.state, sa.func.count().label("number")).group_by(JOBS.c.state)
    found = {row.state: row.number for row in connection.execute(asked)}
    return {
        "waiting": found.get(JobState.PENDING, 0),
        "running": sum(found.get(state, 0) for state in UNDER_WAY),
    }


def living(connection: sa.Connection, since: sa.ColumnElement[float]) -> dict[str, int]:
    """Name the workers that were seen since, and how many jobs each runs at a time."""
    asked = sa.select(WORKERS.c.id, WORKERS.c.slots).where(WORKERS.c.seen_at >= since)
    return {row.id: row.slots for row in connection.execute(asked)}


def ask_to_cancel(connection: sa.Connection, job_id: str) -> Job | None:
    """Cancel a job that waits, and have one cancelled that runs; None where there is none."""
    ended = _change(connection, job_id, (JobState.PENDING,), **_end(JobState.CANCELLED))
    if ended:
        return tell_state(connection, job_id)
    asked = _change(connection, job_id, (JobState.RUNNING,), state=JobState.CANCELLING)
    return tell_state(connection, job_id) if asked else find(connection, job_id)


def tell_state(connection: sa.Connection, job_id: str) -> Job:
    """Append the event of a change of state.

    Raises:
        LookupError: the job was forgotten meanwhile.
    """
    job = find(connection, job_id)
    if job is None:
        raise LookupError(job_id)
    document = job.model_dump(mode="json")
    append(connection, job_id, "done" if job.state.is_over else "state", document)
    return job


def outcome_changes(outcome: JobOutcome) -> dict[str, Any]:
    """Say what a row becomes when its job is over."""
    return _end(JobState(outcome.state)) | {"outcome": outcome.model_dump_json()}


def over_beyond(connection: sa.Connection, kept: int) -> list[str]:
    """Name the jobs that are over, but for the newest `kept`."""
    asked = sa.select(JOBS.c.id).where(JOBS.c.state.in_(OVER))
    asked = asked.order_by(JOBS.c.created_at.desc(), JOBS.c.id.desc()).offset(kept).limit(1000)
    return list(connection.execute(asked).scalars())


def known(connection: sa.Connection) -> set[str]:
    return set(connection.execute(sa.select(JOBS.c.id)).scalars())


def forget(connection: sa.Connection, job_ids: list[str]) -> None:
    """Remove the rows of jobs, and their events."""
    connection.execute(sa.delete(EVENTS).where(EVENTS.c.job_id.in_(job_ids)))
    connection.execute(sa.delete(JOBS).where(JOBS.c.id.in_(job_ids)))


def job_of(row: Mapping[Any, Any]) -> Job:
    """Read a row."""
    outcome: dict[str, Any] = json.loads(row["outcome"]) if row["outcome"] else {}
    version = outcome.get("version")
    return Job(
        id=row["id"],
        kind=row["kind"],
        model_id=row["model_id"],
        state=row["state"],
        created_at=_time(row["created_at"]) or now(),
        started_at=_time(row["started_at"]),
        finished_at=_time(row["finished_at"]),
        progress=json.loads(row["progress"]) if row["progress"] else None,
        windows=outcome.get("windows", ()),
        metrics=outcome.get("metrics", {}),
        version=version,
        source=f"store:{version}" if version else None,
        message=outcome.get("message"),
        error=JobError(**outcome["error"]) if outcome.get("error") else None,
        warnings=tuple(outcome.get("warnings", ())),
        retry_of=row["retry_of"],
        attempts=row["attempts"],
    )


def _change(
    connection: sa.Connection, job_id: str, states: tuple[JobState, ...], **values: Any
) -> bool:
    where = JOBS.c.id == job_id, JOBS.c.state.in_(states)
    return connection.execute(sa.update(JOBS).where(*where).values(**values)).rowcount > 0


def _end(state: JobState) -> dict[str, Any]:
    return {"state": state, "finished_at": now().timestamp()}


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
