"""The database of the jobs: DBOS's queue and steps, and beside them our tables."""

import time
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Any

import sqlalchemy as sa
from dbos import DBOS

from forecast.core.atomic import locked

_LOCK_WAIT_S = 30
_LOCK_PAUSE_S = 0.2
# Of a process that is stopped within a transaction the server takes back what it locked.
_IDLE = "-c idle_in_transaction_session_timeout=15000"
_KINDS = "the database of the jobs is sqlite:///<file> or postgresql://<user>@<host>/<name>"
_CREATE, _SUBMIT = 7_305_001, 7_305_002  # numbers of our advisory locks

METADATA = sa.MetaData()

JOBS = sa.Table(
    "forecast_jobs",
    METADATA,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("model_id", sa.String(100), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("started_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    sa.Column("idempotency_key", sa.String(64), unique=True),
    sa.Column("body_sha256", sa.String(64)),
    sa.Column("retry_of", sa.String(40)),
    sa.Column("worker", sa.String(160)),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("handed_over", sa.Integer, nullable=False, default=0),
    sa.Column("spent_s", sa.Double, nullable=False, default=0.0),
    sa.Column("last_event", sa.Integer, nullable=False, default=0),
    sa.Column("progress", sa.Text),
    sa.Column("outcome", sa.Text),
    sa.Index("forecast_jobs_newest", "created_at", "id"),
    sa.Index("forecast_jobs_state", "state"),
)

EVENTS = sa.Table(
    "forecast_job_events",
    METADATA,
    sa.Column("job_id", sa.String(40), primary_key=True),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
)

WORKERS = sa.Table(
    "forecast_workers",
    METADATA,
    sa.Column("id", sa.String(160), primary_key=True),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("slots", sa.Integer, nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("seen_at", sa.Double, nullable=False),
)


def engine_of(url: str, *, connections: int = 10) -> sa.Engine:
    """Make an engine for a database; nothing is connected yet.

    Args:
        url: `sqlite:///<file>` or `postgresql://…`.

    Raises:
        ValueError: it is neither.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise ValueError(_KINDS) from None  # its words may hold the password
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        return sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=connections,
            max_overflow=connections,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"connect_timeout": 10, "options": _IDLE},
        )
    if kind != "sqlite" or not parsed.database:
        raise ValueError(_KINDS)
    connect_args = {"timeout": _LOCK_WAIT_S}
    engine = sa.create_engine(parsed, hide_parameters=True, connect_args=connect_args)
    sa.event.listen(engine, "connect", _prepare_connection)
    return engine


def _prepare_connection(connection: SqliteConnection, record: Any) -> None:  # noqa: ARG001
    # A writer waits for its turn when it begins, and not halfway, where it would have to give up.
    connection.isolation_level = "IMMEDIATE"
    connection.execute(f"PRAGMA busy_timeout={_LOCK_WAIT_S * 1000}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for a writer


def prepare(engine: sa.Engine, url: str) -> None:
    """Make what is missing in the database. Safe to call from any process, at any time.

    Raises:
        SQLAlchemyError: the database does not answer.
    """
    if engine.dialect.name == "sqlite":
        file = Path(str(engine.url.database))
        with locked(file.with_name(f"{file.name}.lock")):
            _create(engine, url)
        return
    # No transaction may be open meanwhile, nor a statement wait: DBOS makes indexes concurrently,
    # which waits for all that run.
    with engine.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        key = {"key": _CREATE}
        gives_up = time.monotonic() + _LOCK_WAIT_S
        while not connection.execute(sa.text("SELECT pg_try_advisory_lock(:key)"), key).scalar():
            if time.monotonic() > gives_up:
                raise sa.exc.TimeoutError("somebody else has been making the tables for too long")
            time.sleep(_LOCK_PAUSE_S)
        try:
            _create(engine, url)
        finally:
            connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), key)


def _create(engine: sa.Engine, url: str) -> None:
    DBOS.migrate(url)
    METADATA.create_all(engine)


def one_at_a_time(connection: sa.Connection) -> None:
    """Let other transactions that call this wait until this one is over."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SUBMIT})
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def clock(engine: sa.Engine) -> sa.ColumnElement[float]:
    """Seconds since 1970 by the clock of the database, which all machines share."""
    if engine.dialect.name == "postgresql":
        return sa.literal_column("extract(epoch from clock_timestamp())::float8", sa.Double)
    return sa.literal_column("(julianday('now') - 2440587.5) * 86400.0", sa.Double)
