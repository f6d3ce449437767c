"""A worker: takes jobs from the queue, runs them, and takes up those of workers that died."""

import fcntl
import logging
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import psutil
import sqlalchemy as sa
from dbos import DBOS

from forecast.jobs import job_rows, worker_rows
from forecast.jobs.database import clock, engine_of, prepare
from forecast.jobs.folders import tidy
from forecast.jobs.limits import JobLimits
from forecast.jobs.queue import APPLICATION, QUEUE, SERIALIZER, VERSION, WORKFLOW
from forecast.jobs.records import JobOutcome
from forecast.jobs.run import Holder, Run
from forecast.jobs.working import Kinds, carried_out

log = logging.getLogger(__name__)

LOST = 75  # exit status of a worker that had to let go: try again later
_FORGOTTEN_S = 86_400.0


class Worker:
    """One process that works; `run` returns or the process ends."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        kinds: Kinds,
        limits: JobLimits = JobLimits(),  # noqa: B008 -- it is frozen
        *,
        name: str = "0",
        pause_s: float = 1.0,
    ) -> None:
        """Remember how; nothing is connected before `run`.

        Args:
            folder: of the jobs' own folders; the gateway's.
            database_url: `sqlite:///<file>` or `postgresql://…`; the gateway's.
            name: of this worker among those of this machine, kept over restarts.
            pause_s: between two looks at the queue, two looks at what callers want, and two
                writings of progress.

        Raises:
            ValueError: the address of the database is of no known kind.
        """
        self._folder = folder
        self._database_url = database_url
        self._limits = limits
        self._name = name
        self._pause_s = pause_s
        self._kinds = kinds
        self._engine = engine_of(database_url)
        self._clock = clock(self._engine)
        self.id = f"{socket.gethostname()}/{name}/{secrets.token_hex(4)}"
        self._leaving = threading.Event()
        self._beaten = time.monotonic()
        self._runs: dict[str, Run] = {}

    def run(self, stop: threading.Event) -> NoReturn:
        """Work until told to stop; jobs that are under way go on in another worker, or later.

        Raises:
            ValueError: a worker of this name runs here already.
            SQLAlchemyError: the database does not answer.
        """
        self._hold_name()
        prepare(self._engine, self._database_url)
        with self._engine.begin() as connection:
            worker_rows.arrive(connection, self._row(), self._clock)
        self._launch()
        self._beat()
        threading.Thread(target=self._watch, name="worker-watch", daemon=True).start()
        log.info("worker %s is ready", self.id)
        with suppress(sa.exc.SQLAlchemyError):  # it is tried again with each sign of life
            self._take_up()
        while not stop.wait(self._pause_s):
            self._round()
        self._leave()

    def _row(self) -> worker_rows.WorkerRow:
        return worker_rows.WorkerRow(
            self.id, self._name, socket.gethostname(), self._limits.training_jobs
        )

    def _hold_name(self) -> None:
        """Take a lock that ends with this process: whoever had the name before is dead."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f".worker-{socket.gethostname()}-{self._name}.lock"
        handle = os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"a worker named {self._name} runs here already; set FORECAST_WORKER_ID"
            ) from error

    def _launch(self) -> None:
        logging.getLogger("dbos").addHandler(logging.NullHandler())  # its lines go to our log

        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)  # attempts are counted by us
        def work(job_id: str) -> dict[str, Any]:
            return self._work(job_id)

        DBOS(
            config={
                "name": APPLICATION,
                "system_database_engine": self._engine,
                "system_database_url": self._database_url,
                "application_version": VERSION,
                "executor_id": self.id,
                "serializer": SERIALIZER,
                "run_migrations": False,
                "log_level": "WARNING",
            }
        )
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=self._limits.training_jobs,
            polling_interval_sec=self._pause_s,
            on_conflict="always_update",
        )

    # Jobs

    def _work(self, job_id: str) -> dict[str, Any]:
        """Run a job that the queue gave us, from where it is."""
        self._check()
        claim = self._claimed(job_id)
        if claim is None:
            return {"state": "over"}
        try:
            return self._carry_out(job_id, claim).model_dump(mode="json")
        except Exception:
            # A job must not stay half done: who takes it up again gives it up in the end.
            log.exception("job %s could not be brought to its end", job_id)
            self._lost("a job could not be brought to its end")

    def _carry_out(self, job_id: str, claim: worker_rows.Claim) -> JobOutcome:
        holder = Holder(self.id, self._engine, self._check, self._lost)
        folder = self._folder / job_id
        run = Run(job_id, folder, holder, claim, self._limits.training_limit_s)
        self._runs[job_id] = run
        try:
            gives_up = claim.tries > self._limits.training_attempts
            outcome = carried_out(run, self._kinds, gives_up=gives_up)
            run.finish(outcome)
        finally:
            del self._runs[job_id]
        tidy(folder, succeeded=outcome.state == "succeeded")
        return outcome

    def _claimed(self, job_id: str) -> worker_rows.Claim | None:
        while True:
            try:
                with self._engine.begin() as connection:
                    return worker_rows.claim(connection, job_id, self.id)
            except sa.exc.OperationalError as error:
                log.warning("the database of the jobs failed: %s", error.orig)
                self._check()
                time.sleep(self._pause_s)

    # Life

    def _round(self) -> None:
        try:
            if time.monotonic() - self._beaten >= self._limits.beat_s:
                self._beat()
                self._take_up()
            if self._runs:
                self._follow()
        except sa.exc.SQLAlchemyError as error:
            log.warning("the database of the jobs failed: %s", error)

    def _follow(self) -> None:
        runs = list(self._runs.values())
        with self._engine.connect() as connection:
            states = worker_rows.held(connection, self.id)
        for run in runs:
            run.follow(states)

    def _beat(self) -> None:
        began = time.monotonic()
        with self._engine.begin() as connection:
            passed = began - self._beaten
            if not worker_rows.beat(connection, self.id, self._clock, passed):
                self._lost("the other workers gave this one up")
            worker_rows.bury(connection, self._clock - _FORGOTTEN_S)
        self._beaten = began

    def _take_up(self) -> None:
        """Queue the jobs of dead workers again; of several that do it at once one succeeds."""
        pending = DBOS.list_workflows(
            status="PENDING", queue_name=QUEUE, load_input=False, load_output=False
        )
        with self._engine.connect() as connection:
            alive = job_rows.living(connection, self._clock - self._limits.worker_lost_s)
        dead = {one.executor_id for one in pending if one.executor_id} - set(alive)
        if dead:
            log.warning("taking up the jobs of %s", ", ".join(sorted(dead)))
            # It has no public name: its makers have a service of theirs call it.
            DBOS._recover_pending_workflows(sorted(dead))

    def _watch(self) -> None:
        """End this process where it could not say for long that it lives: others take over."""
        while True:
            time.sleep(self._limits.beat_s / 4)
            if time.monotonic() - self._beaten > self._limits.gives_up_s:
                self._lost("no sign of life could be given")

    def _check(self) -> None:
        """Let nothing more be done by a worker that is on its way out."""
        if self._leaving.is_set():
            threading.Event().wait()

    def _lost(self, reason: str) -> NoReturn:
        log.error("this worker ends, for %s", reason)
        self._end(LOST)

    def _leave(self) -> NoReturn:
        """End in order: what runs is stopped, and its jobs are free for others."""
        self._leaving.set()
        _kill_children()
        try:
            with self._engine.begin() as connection:
                worker_rows.leave(connection, self.id)
        except sa.exc.SQLAlchemyError as error:
            log.warning("the jobs could not be handed over: %s", error)
        self._end(0)

    def _end(self, status: int) -> NoReturn:
        self._leaving.set()
        _kill_children()
        logging.shutdown()
        os._exit(status)  # threads that wait for children or the database must not keep it


def _kill_children() -> None:
    for process in psutil.Process().children(recursive=True):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
