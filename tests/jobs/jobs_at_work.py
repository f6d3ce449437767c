"""Real databases, real workers and a small kind of job, to see jobs run, die and go on."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psycopg
import pytest

from forecast.core.types import Series
from forecast.jobs.jobs import Jobs
from forecast.jobs.limits import JobLimits
from forecast.jobs.plans import JobPlan
from forecast.jobs.records import Job, JobKind

SERVER = "postgresql://127.0.0.1:5432"
ROOT = Path(__file__).parents[2]
PATIENCE_S = 90.0
SERIES = [Series(target=np.array([[1.0, 2.0, 3.0]]), item_id="a")]
EFFECTS = "effects.txt"


@contextmanager
def database_of(kind: str, folder: Path) -> Iterator[str]:
    """Give the address of an empty database, which is gone afterwards."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'jobs.db'}"
        return
    name = f"jobs_{uuid.uuid4().hex[:12]}"
    with _server() as server:
        server.execute(f"CREATE DATABASE {name}")
    try:
        yield f"{SERVER}/{name}"
    finally:
        with _server() as server:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _server() -> Iterator[psycopg.Connection]:
    try:
        connection = psycopg.connect(f"{SERVER}/postgres", autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        pytest.skip(f"needs PostgreSQL at 127.0.0.1:5432: {error}")
    with connection:
        yield connection


class Worker:
    """A worker in a process of its own, whose jobs do what `small_worker` says."""

    def __init__(self, folder: Path, url: str, **options: object) -> None:
        whole = {"folder": str(folder), "database_url": url, "pause_s": 0.2}
        self._log = folder.with_name(f"worker-{uuid.uuid4().hex[:6]}.log").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.jobs.small_worker", json.dumps(whole | options)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stderr=self._log,
        )

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        self._log.close()
        return self.process.wait(PATIENCE_S)


@contextmanager
def workers(folder: Path, url: str, *names: str, **options: object) -> Iterator[list[Worker]]:
    """Run workers of these names, and end what is left of them."""
    started = [Worker(folder, url, name=name, **options) for name in names]
    try:
        yield started
    finally:
        for worker in started:
            if worker.process.poll() is None:
                os.kill(worker.process.pid, signal.SIGCONT)
                worker.kill()
            worker.end()


def plan(**work: object) -> JobPlan:
    """Make the plan of a job: `steps` of them, `gated` ones wait for `open_gate`."""
    return JobPlan(kind=JobKind.TRAINING, model_id="lstm", work={"steps": 1, **work})


def jobs_of(folder: Path, url: str, **options: int) -> Jobs:
    return Jobs(folder, url, JobLimits(**options), poll_s=0.05)


async def until(jobs: Jobs, job_id: str, condition: Callable[[Job], object]) -> Job:
    """Wait until a job is so."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        job = await jobs.get(job_id)
        if condition(job):
            return job
        assert time.monotonic() < give_up, job
        await asyncio.sleep(0.05)


async def until_over(jobs: Jobs, job_id: str) -> Job:
    return await until(jobs, job_id, lambda job: job.state.is_over)


async def until_true(condition: Callable[[], object], what: str) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, what
        await asyncio.sleep(0.05)


def open_gate(folder: Path, job: Job) -> None:
    (folder / job.id / "gate").touch()


def effects(folder: Path, job: Job) -> list[int]:
    """Number the steps that were begun, in their order, by whatever worker."""
    file = folder / job.id / EFFECTS
    return [int(line) for line in file.read_text().split()] if file.exists() else []
