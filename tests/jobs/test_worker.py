"""Jobs run by real workers: they end as they should, whatever is killed, asked or fails."""

import asyncio
import json
import os
import signal
import sqlite3
from contextlib import closing

import pytest

from forecast.core.errors import Conflict, NotFound
from forecast.jobs.records import Job, JobEvent, JobState
from forecast.jobs.worker import LOST
from tests.jobs.jobs_at_work import (
    SERIES,
    Worker,
    database_of,
    effects,
    jobs_of,
    open_gate,
    plan,
    until,
    until_over,
    until_true,
    workers,
)

on_both = pytest.mark.parametrize("database", ["sqlite", "postgresql"])


@pytest.fixture
def database() -> str:
    return "sqlite"


@pytest.fixture
def url(database, tmp_path):
    with database_of(database, tmp_path) as address:
        yield address


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "jobs"


def windows(job) -> list[str]:
    return [window.window for window in job.windows]


@on_both
def test_a_job_runs_and_tells_all_about_it(url, folder):
    async def flow():
        jobs = jobs_of(folder, url)
        with workers(folder, url, "one"):
            job = await jobs.submit(plan(steps=3, in_child=True), SERIES)
            told = [event async for event in jobs.events(job.id)]
            assert (await jobs.health())["workers"] == 1
        over = await jobs.get(job.id)
        check_record(over)
        check_events(told, over)
        assert [event async for event in jobs.events(job.id, after=told[3].id)] == told[4:]
        assert [event async for event in jobs.events(job.id, after=told[-1].id)] == []
        result = json.loads((await jobs.result(job.id) / "result.json").read_text())
        assert result["job_id"] == job.id
        assert result["metrics"] == {"steps": 3}
        assert await jobs.log(job.id, last=20) == "step 2 was done\n"
        await jobs.close()

    asyncio.run(flow())


def check_record(over: Job) -> None:
    assert over.state is JobState.SUCCEEDED
    assert over.message == "did [0, 1, 2]"
    assert over.attempts == 1
    assert windows(over) == ["0", "1", "2"]
    assert over.started_at <= over.finished_at
    assert over.progress.window == "2"
    assert over.progress.loss is None  # it was infinite
    assert over.metrics == {"steps": 3}  # one was no number
    assert over.windows[0].metrics == {"a": 1.0}


def check_events(told: list[JobEvent], over: Job) -> None:
    assert [event.id for event in told] == list(range(1, len(told) + 1))
    states = [event.data["state"] for event in told if event.kind == "state"]
    assert states[:2] == ["pending", "running"]
    seen = [event.data["window"] for event in told if event.kind == "progress"]
    assert seen == ["0", "1", "2"]
    lines = [event.data["line"] for event in told if event.kind == "log"]
    of_steps = [(f"begin: step {number}", f"step {number} was done") for number in range(3)]
    assert lines == [line for pair in of_steps for line in pair]
    assert told[-1].kind == "done"
    assert told[-1].data == over.model_dump(mode="json")


@on_both
def test_a_running_job_is_cancelled_and_one_that_waited_never_runs(url, folder):
    async def flow():
        jobs = jobs_of(folder, url)
        with workers(folder, url, "one"):
            running = await jobs.submit(plan(steps=3, gated=1), SERIES)
            waiting = await jobs.submit(plan(steps=1), SERIES)
            await until(jobs, running.id, lambda job: windows(job) == ["0"])
            with pytest.raises(NotFound, match="running and has no result"):
                await jobs.result(running.id)
            assert (await jobs.cancel(waiting.id)).state is JobState.CANCELLED
            assert (await jobs.cancel(running.id)).state is JobState.CANCELLING
            over = await until_over(jobs, running.id)
            assert over.state is JobState.CANCELLED
            assert (await jobs.cancel(running.id)).state is JobState.CANCELLED

            last = await jobs.submit(plan(), SERIES)
            assert (await until_over(jobs, last.id)).state is JobState.SUCCEEDED
            with pytest.raises(Conflict, match="succeeded already"):
                await jobs.cancel(last.id)
            assert effects(folder, waiting) == []
            assert effects(folder, running) == [0, 1]
        await jobs.close()

    asyncio.run(flow())


def test_a_job_that_fails_says_why_and_can_be_tried_again(url, folder):
    async def flow():
        jobs = jobs_of(folder, url)
        with workers(folder, url, "one"):
            refused = await jobs.submit(plan(steps=3, fails=1), SERIES)
            over = await until_over(jobs, refused.id)
            assert over.state is JobState.FAILED
            assert over.error.code == "invalid_request"
            assert over.error.detail == "step 1 cannot be"
            assert windows(over) == ["0"]

            broken = await jobs.submit(plan(breaks=0), SERIES)
            over = await until_over(jobs, broken.id)
            assert over.error.code == "internal_error"
            assert "mistake" not in over.error.detail

            again = await jobs.retry(refused.id, idempotency_key="again")
            assert again.retry_of == refused.id
            assert (await jobs.retry(refused.id, idempotency_key="again")).id == again.id
            assert (await until_over(jobs, again.id)).error.detail == "step 1 cannot be"
            assert effects(folder, again) == [0]
        await jobs.close()

    asyncio.run(flow())


def test_a_job_ends_when_its_time_is_over(url, folder):
    async def flow():
        jobs = jobs_of(folder, url)
        with workers(folder, url, "one", training_limit_s=1.0):
            job = await jobs.submit(plan(steps=3, gated=1), SERIES)
            over = await until_over(jobs, job.id)
            assert over.state is JobState.FAILED
            assert over.error.code == "deadline_passed"
            assert windows(over) == ["0"]
        await jobs.close()

    asyncio.run(flow())


@on_both
def test_a_worker_that_comes_back_goes_on_where_it_was_killed(url, folder):
    async def flow():
        jobs = jobs_of(folder, url)
        with workers(folder, url, "one") as (worker,):
            job = await jobs.submit(plan(steps=3, gated=1), SERIES)
            await until(jobs, job.id, lambda job: windows(job) == ["0"])
            await until_true(lambda: 1 in effects(folder, job), "the second step")
            worker.kill()
        assert (await jobs.get(job.id)).state is JobState.RUNNING
        open_gate(folder, job)
        with workers(folder, url, "one"):
            over = await until_over(jobs, job.id)
        assert over.state is JobState.SUCCEEDED
        assert over.attempts == 2
        assert effects(folder, job) == [0, 1, 1, 2]
        assert windows(over) == ["0", "1", "2"]
        await jobs.close()

    asyncio.run(flow())


def test_a_worker_that_is_told_to_end_hands_its_job_over(url, folder):
    async def flow():
        jobs = jobs_of(folder, url)
        with workers(folder, url, "one", training_attempts=1) as (worker,):
            job = await jobs.submit(plan(steps=2, gated=1), SERIES)
            await until_true(lambda: 1 in effects(folder, job), "the second step")
            assert worker.end() == 0
        assert (await jobs.get(job.id)).state is JobState.RUNNING
        assert (await jobs.health())["workers"] == 0
        open_gate(folder, job)
        with workers(folder, url, "another", training_attempts=1, worker_lost_s=4.0):
            assert (await until_over(jobs, job.id)).state is JobState.SUCCEEDED
        await jobs.close()

    asyncio.run(flow())


def test_a_job_that_kills_its_workers_is_given_up(url, folder):
    async def flow():
        jobs = jobs_of(folder, url)
        job = await jobs.submit(plan(steps=2, dies=1), SERIES)
        for _ in range(2):
            with workers(folder, url, "one", training_attempts=2) as (worker,):
                status = await asyncio.to_thread(worker.process.wait, 60)
                assert status == -signal.SIGKILL, worker.log
        with workers(folder, url, "one", training_attempts=2):
            over = await until_over(jobs, job.id)
        assert over.state is JobState.FAILED
        assert over.error.code == "interrupted"
        assert effects(folder, job) == [0, 1, 1]
        await jobs.close()

    asyncio.run(flow())


def test_a_job_cancelled_while_its_worker_is_dead_ends_when_it_is_taken_up(url, folder):
    async def flow():
        jobs = jobs_of(folder, url)
        with workers(folder, url, "one") as (worker,):
            job = await jobs.submit(plan(steps=2, gated=0), SERIES)
            await until_true(lambda: effects(folder, job), "the first step")
            worker.kill()
        assert (await jobs.cancel(job.id)).state is JobState.CANCELLING
        with workers(folder, url, "one"):
            assert (await until_over(jobs, job.id)).state is JobState.CANCELLED
        assert effects(folder, job) == [0]
        await jobs.close()

    asyncio.run(flow())


@on_both
def test_two_workers_share_a_queue_and_one_takes_up_what_the_other_leaves(url, folder):
    async def flow():
        jobs = jobs_of(folder, url)
        with workers(folder, url, "one", "two", worker_lost_s=4.0) as both:
            quick = [await jobs.submit(plan(steps=2), SERIES) for _ in range(6)]
            for job in quick:
                assert (await until_over(jobs, job.id)).attempts == 1
                assert effects(folder, job) == [0, 1]

            held = [await jobs.submit(plan(steps=3, gated=1), SERIES) for _ in range(2)]
            for job in held:
                await until_true(lambda job=job: 1 in effects(folder, job), "both at work")
            assert (await jobs.health()) == {
                "database": None,
                "workers": 2,
                "waiting": 0,
                "running": 2,
            }
            both[0].kill()
            for job in held:
                open_gate(folder, job)
            over = [await until_over(jobs, job.id) for job in held]
            assert {job.state for job in over} == {JobState.SUCCEEDED}
            assert sorted(job.attempts for job in over) == [1, 2]
            assert sorted(effects(folder, job) for job in held) == [[0, 1, 1, 2], [0, 1, 2]]
        await jobs.close()

    asyncio.run(flow())


def stop_between_transactions(worker: Worker, url: str) -> None:
    """Stop a worker where it locks nothing; a lock in SQLite would hold everybody up for good."""
    while True:
        os.kill(worker.process.pid, signal.SIGSTOP)
        if not url.startswith("sqlite") or is_free(url.removeprefix("sqlite:///")):
            return
        os.kill(worker.process.pid, signal.SIGCONT)


def is_free(file: str) -> bool:
    with closing(sqlite3.connect(file, timeout=0.5, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


@on_both
def test_a_worker_that_was_given_up_ends_without_another_step(url, folder):
    async def flow():
        jobs = jobs_of(folder, url)
        with workers(folder, url, "one", worker_lost_s=4.0) as (sleeper,):
            job = await jobs.submit(plan(steps=3, gated=1), SERIES)
            await until_true(lambda: 1 in effects(folder, job), "the second step")
            await asyncio.to_thread(stop_between_transactions, sleeper, url)
            with workers(folder, url, "two", worker_lost_s=4.0):
                await until(jobs, job.id, lambda job: job.attempts == 2)
                await until_true(lambda: effects(folder, job) == [0, 1, 1], "taken up")
                open_gate(folder, job)
                os.kill(sleeper.process.pid, signal.SIGCONT)
                assert await asyncio.to_thread(sleeper.process.wait, 60) == LOST
                over = await until_over(jobs, job.id)
        assert over.state is JobState.SUCCEEDED
        assert effects(folder, job) == [0, 1, 1, 2]
        await jobs.close()

    asyncio.run(flow())


def test_a_second_worker_of_a_name_is_refused(url, folder):
    async def flow():
        jobs = jobs_of(folder, url)
        with workers(folder, url, "one"):
            await jobs.start()
            job = await jobs.submit(plan(), SERIES)
            await until_over(jobs, job.id)
            with workers(folder, url, "one") as (second,):
                assert await asyncio.to_thread(second.process.wait, 60) == 1
                assert "runs here already" in second.log
        await jobs.close()

    asyncio.run(flow())
