"""The jobs as the gateway sees them: submitted, looked at, followed, cancelled, tried again."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from dbos import DBOSClient

from forecast.core.atomic import discard
from forecast.core.errors import Conflict, DatabaseUnavailable, InvalidRequest, NotFound, QueueFull
from forecast.core.types import Series
from forecast.jobs import event_rows, folders, job_rows
from forecast.jobs.database import clock, engine_of, one_at_a_time, prepare
from forecast.jobs.job_rows import NewJob
from forecast.jobs.limits import JobLimits
from forecast.jobs.plans import JobPlan, write_plan
from forecast.jobs.queue import client_of, enqueue
from forecast.jobs.records import Job, JobEvent, JobFilter, JobState

log = logging.getLogger(__name__)

T = TypeVar("T")

_RETRY_AFTER_S = 60.0
_THREADS = 8
_NO_JOB = "there is no job of this id; GET /forecast/v1/jobs lists them"


class Jobs:
    """The gateway's side of the jobs. Holds nothing: all is in the database and the folders.

    Any number of gateways may share them. Each method waits for the database in a thread, and
    raises DatabaseUnavailable where it does not answer.
    """

    def __init__(
        self,
        folder: Path,
        database_url: str,
        limits: JobLimits = JobLimits(),  # noqa: B008 -- it is frozen
        *,
        poll_s: float = 0.5,
        sweep_s: float = 600.0,
    ) -> None:
        """Remember where; nothing is connected before the first use.

        Args:
            folder: of the jobs' own folders; workers read and write the same one.
            database_url: `sqlite:///<file>` or `postgresql://…`; of the workers too.
            poll_s: pause between two looks for new events.
            sweep_s: pause between two rounds of forgetting.

        Raises:
            ValueError: the address of the database is of no known kind.
        """
        self._folder_of_jobs = folder
        self._database_url = database_url
        self._limits = limits
        self._poll_s, self._sweep_s = poll_s, sweep_s
        self._engine = engine_of(database_url)
        self._client: DBOSClient = client_of(self._engine)
        # Threads of our own: a database that does not answer holds up nothing but the jobs.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="jobs")
        self._is_prepared = False
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Make what is missing in the database; one that does not answer is asked again later."""
        try:
            await self._ask(job_rows.counts)
        except DatabaseUnavailable:
            log.warning("the jobs wait for their database")
        self._sweeping = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Let go of the database; the jobs go on."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._engine.dispose)

    # What begins a job

    async def submit(
        self,
        plan: JobPlan,
        series: Sequence[Series],
        *,
        idempotency_key: str | None = None,
        body_sha256: str | None = None,
        effect: AbstractContextManager[None] | None = None,
    ) -> Job:
        """Queue a job; a worker takes it up when it has room.

        Args:
            idempotency_key: asked again with the same key and body, the same job is answered.
            body_sha256: of what the caller sent.
            effect: entered once the job is accepted, just before that is committed, and left
                with an error if it cannot be; a refused or repeated job never enters it.

        Raises:
            QueueFull: too many wait already.
            InvalidRequest: the key came before with another body.
        """
        job = NewJob(
            id=folders.new_id(plan.kind),
            kind=plan.kind,
            model_id=plan.model_id,
            idempotency_key=_digest(idempotency_key),
            body_sha256=body_sha256,
            warnings=plan.warnings,
        )
        if earlier := await self.earlier(idempotency_key, body_sha256):
            return earlier
        return await self._begin(job, lambda folder: write_plan(folder, plan, series), effect)

    async def earlier(self, idempotency_key: str | None, body_sha256: str | None) -> Job | None:
        """Find the job that this very request has begun already.

        Raises:
            InvalidRequest: the key came before with another body.
        """
        if idempotency_key is None:
            return None
        key = _digest(idempotency_key)
        return await self._ask(lambda connection: _earlier(connection, key, body_sha256))

    async def retry(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """Do again what a job that failed or was cancelled was to do, as a new job.

        Raises:
            InvalidRequest: the key came before with another request.
            NotFound: there is none of this id.
            Conflict: it has not failed.
            QueueFull: too many wait already.
        """
        old = await self.get(job_id)
        if old.state not in (JobState.FAILED, JobState.CANCELLED):
            raise Conflict(
                f"the job is {old.state}; only one that failed or was cancelled can be tried again"
            )
        job = NewJob(
            id=folders.new_id(old.kind),
            kind=old.kind,
            model_id=old.model_id,
            idempotency_key=_digest(idempotency_key),
            body_sha256=_digest(f"retry {job_id}"),
            retry_of=job_id,
        )
        if earlier := await self.earlier(idempotency_key, job.body_sha256):
            return earlier
        source = self._folder(job_id)
        return await self._begin(job, lambda folder: folders.copy_plan(source, folder))

    # What callers ask

    async def get(self, job_id: str) -> Job:
        """Look at a job.

        Raises:
            NotFound: there is none of this id.
        """
        _check_id(job_id)
        return _found(await self._ask(lambda connection: job_rows.find(connection, job_id)))

    async def list(self, wanted: JobFilter) -> list[Job]:
        """List jobs, newest first."""
        return await self._ask(lambda connection: job_rows.listed(connection, wanted))

    async def cancel(self, job_id: str) -> Job:
        """End a job: one that waits at once, one that runs within seconds; twice is fine.

        Raises:
            NotFound: there is none of this id.
            Conflict: it is over.
        """
        _check_id(job_id)
        job = _found(
            await self._change(lambda connection: job_rows.ask_to_cancel(connection, job_id))
        )
        if job.state in (JobState.SUCCEEDED, JobState.FAILED):
            raise Conflict(f"the job has {job.state} already")
        if job.state is JobState.CANCELLED:
            await self._in_thread(lambda: self._client.cancel_workflow(job_id))
        return job

    async def result(self, job_id: str) -> Path:
        """Find the folder with `result.json` of a job that succeeded.

        Raises:
            NotFound: there is no such job, or it has no result.
        """
        job = await self.get(job_id)
        folder = self._folder(job_id)
        if job.state is not JobState.SUCCEEDED or not (folder / folders.RESULT).exists():
            raise NotFound(f"the job is {job.state} and has no result; look at the job")
        return folder

    async def events(self, job_id: str, after: int = 0) -> AsyncGenerator[JobEvent, None]:
        """Give what happened to a job after an event, and what happens, until it is over.

        Of what only tells how far a job was, the oldest is forgotten; numbers have gaps then.

        Raises:
            NotFound: there is none of this id.
        """
        await self.get(job_id)
        over = False
        while True:
            seen = after
            events = await self._ask(partial(event_rows.read, job_id=job_id, after=seen))
            for event in events:
                after = event.id
                yield event
                if event.kind == "done":
                    return
            if not events and over:
                return
            if not events:  # it may end now: read once more before believing that all was told
                over = await self._is_over(job_id)
                await asyncio.sleep(0 if over else self._poll_s)

    async def log(self, job_id: str, *, last: int = 65_536) -> str:
        """Read the end of what a job's processes printed.

        Args:
            last: bytes, at most.

        Raises:
            NotFound: there is none of this id.
        """
        await self.get(job_id)
        return await asyncio.to_thread(folders.end_of_log, self._folder(job_id), last)

    async def health(self) -> dict[str, Any]:
        """Say whether the database answers, how many workers live, and how long the queue is."""
        try:
            found = await self._ask(
                lambda connection: (job_rows.counts(connection), self._living(connection))
            )
        except DatabaseUnavailable as error:
            return {"database": error.detail, "workers": 0, "waiting": 0, "running": 0}
        counts, workers = found
        return {"database": None, "workers": len(workers), **counts}

    # How

    async def _begin(
        self,
        job: NewJob,
        write: Callable[[Path], None],
        effect: AbstractContextManager[None] | None = None,
    ) -> Job:
        folder = self._folder(job.id)
        try:
            await asyncio.to_thread(write, folder)
        except FileNotFoundError:
            raise NotFound("the data of that job is not kept any more; send it again") from None
        try:
            made = await self._in_thread(partial(self._insert, job, effect or nullcontext()))
        except Exception:  # where this is cancelled, the row may still come
            await asyncio.to_thread(discard, folder)
            raise
        if made.id != job.id:
            await asyncio.to_thread(discard, folder)
        return made

    def _insert(self, job: NewJob, effect: AbstractContextManager[None]) -> Job:
        """Make the row, the entry of the queue and the effect together: all are there or none.

        Returns:
            The job, or the one that its key has begun before.
        """
        with self._engine.connect() as connection, connection.begin() as transaction:
            one_at_a_time(connection)
            if earlier := _earlier(connection, job.idempotency_key, job.body_sha256):
                return earlier
            self._check_room(connection)
            made = job_rows.insert(connection, job)
            enqueue(self._client, connection, job.id)
            with effect:
                transaction.commit()
        return made

    def _check_room(self, connection: sa.Connection) -> None:
        counts = job_rows.counts(connection)
        slots = max(self._limits.at_once, sum(self._living(connection).values()))
        room = self._limits.training_queue + max(0, slots - counts["running"])
        if counts["waiting"] >= room:
            raise QueueFull(
                f"{counts['waiting']} jobs wait already; try again later",
                retry_after_s=_RETRY_AFTER_S,
            )

    async def _is_over(self, job_id: str) -> bool:
        job = await self._ask(lambda connection: job_rows.find(connection, job_id))
        return job is None or job.state.is_over

    def _living(self, connection: sa.Connection) -> dict[str, int]:
        return job_rows.living(connection, clock(self._engine) - self._limits.worker_lost_s)

    def _folder(self, job_id: str) -> Path:
        return self._folder_of_jobs / job_id

    async def _sweep(self) -> None:
        while True:
            try:
                await self.sweep()
            except (DatabaseUnavailable, OSError) as error:
                log.warning("old jobs were not forgotten: %s", error)
            except Exception:
                log.exception("old jobs were not forgotten")
            await asyncio.sleep(self._sweep_s)

    async def sweep(self) -> None:
        """Forget the oldest jobs beyond those kept, and what nobody knows."""
        kept = self._limits.jobs_kept
        old = await self._ask(lambda connection: job_rows.over_beyond(connection, kept))
        if old:
            await self._in_thread(lambda: self._client.delete_workflows(old))
            await self._change(lambda connection: job_rows.forget(connection, old))
            await asyncio.to_thread(folders.remove, self._folder_of_jobs, old)
        known = await self._ask(job_rows.known)
        for path in await asyncio.to_thread(folders.orphans, self._folder_of_jobs, known):
            await asyncio.to_thread(discard, path)

    async def _ask(self, question: Callable[[sa.Connection], T]) -> T:
        def asked() -> T:
            with self._engine.connect() as connection:
                return question(connection)

        return await self._in_thread(asked)

    async def _change(self, change: Callable[[sa.Connection], T]) -> T:
        def changed() -> T:
            with self._engine.begin() as connection:
                return change(connection)

        return await self._in_thread(changed)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        def prepared() -> T:
            if not self._is_prepared:
                prepare(self._engine, self._database_url)
                self._is_prepared = True
            return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, prepared)
        except sa.exc.SQLAlchemyError as error:
            log.warning("the database of the jobs failed: %s", type(error).__name__)
            raise DatabaseUnavailable(
                "the database of the jobs does not answer; the gateway's log says more",
                retry_after_s=5.0,
            ) from error


def _digest(key: str | None) -> str | None:
    return None if key is None else hashlib.sha256(key.encode()).hexdigest()


def _earlier(connection: sa.Connection, key: str | None, body_sha256: str | None) -> Job | None:
    """Find the job of a digest of a key.

    Raises:
        InvalidRequest: the key came before with another body.
    """
    found = None if key is None else job_rows.find_by_key(connection, key)
    if found is None:
        return None
    job, body = found
    if body != body_sha256:
        raise InvalidRequest(
            "this Idempotency-Key came before with another request; send a new key"
        )
    return job


def _check_id(text: str) -> None:
    if not folders.is_id(text):
        raise NotFound(_NO_JOB)


def _found(job: Job | None) -> Job:
    if job is None:
        raise NotFound(_NO_JOB)
    return job
