"""The events of jobs as rows: numbered from 1 within a job, so that a reader can go on."""

import json
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from forecast.jobs.database import EVENTS, JOBS
from forecast.jobs.records import JobEvent, now

EventKind = Literal["progress", "log", "state", "done"]

KEPT = 2000  # of the events that only tell how far a job is; changes of state are all kept
_TRIM_EVERY = 200
_LONGEST_READ = 500


def append(
    connection: sa.Connection, job_id: str, kind: EventKind, data: dict[str, Any]
) -> int | None:
    """Append an event, and give its number; None where the job was forgotten meanwhile."""
    counter = sa.update(JOBS).where(JOBS.c.id == job_id)
    counter = counter.values(last_event=JOBS.c.last_event + 1)
    number = connection.execute(counter.returning(JOBS.c.last_event)).scalar()
    if number is None:
        return None
    event = {"job_id": job_id, "id": number, "kind": kind, "at": now().timestamp()}
    connection.execute(sa.insert(EVENTS).values(**event, data=json.dumps(data)))
    if number % _TRIM_EVERY == 0:
        _trim(connection, job_id, number)
    return int(number)


def read(connection: sa.Connection, job_id: str, after: int) -> list[JobEvent]:
    """Read the next events of a job, oldest first."""
    asked = sa.select(EVENTS).where(EVENTS.c.job_id == job_id, EVENTS.c.id > after)
    asked = asked.order_by(EVENTS.c.id).limit(_LONGEST_READ)
    return [
        JobEvent(
            id=row["id"],
            kind=row["kind"],
            at=datetime.fromtimestamp(row["at"], UTC),
            data=json.loads(row["data"]),
        )
        for row in connection.execute(asked).mappings()
    ]


def _trim(connection: sa.Connection, job_id: str, number: int) -> None:
    old = EVENTS.c.job_id == job_id, EVENTS.c.id <= number - KEPT
    connection.execute(sa.delete(EVENTS).where(*old, EVENTS.c.kind.in_(("progress", "log"))))
