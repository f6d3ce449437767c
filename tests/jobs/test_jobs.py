"""The gateway's side of the jobs, on real databases: submitted once a key, found, forgotten."""

import asyncio
import os
import time
from collections.abc import Callable

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecast.core.errors import (
    Conflict,
    DatabaseUnavailable,
    InvalidRequest,
    NotFound,
    QueueFull,
)
from forecast.jobs.folders import end_of_log, new_id
from forecast.jobs.log_file import told
from forecast.jobs.log_tail import LogTail
from forecast.jobs.plans import JobPlan, read_plan, read_plan_series
from forecast.jobs.records import JobFilter, JobKind, JobState
from tests.examples import examples
from tests.jobs.jobs_at_work import SERIES, database_of, jobs_of, plan

UNKNOWN = new_id(JobKind.TRAINING)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    with database_of(request.param, tmp_path) as address:
        yield address


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "jobs"


def folders(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_of_many_that_submit_with_one_key_at_once_all_get_the_same_job(url, folder):
    async def flow():
        gateways = [jobs_of(folder, url) for _ in range(2)]
        asked = [
            jobs.submit(plan(), SERIES, idempotency_key="once", body_sha256="a")
            for jobs in gateways
            for _ in range(6)
        ]
        made = await asyncio.gather(*asked)
        assert len({job.id for job in made}) == 1
        assert folders(folder) == {made[0].id}
        assert len(await gateways[0].list(JobFilter())) == 1

        with pytest.raises(InvalidRequest, match="came before with another request"):
            await gateways[1].submit(plan(), SERIES, idempotency_key="once", body_sha256="b")
        other = await gateways[1].submit(plan(), SERIES, idempotency_key="twice", body_sha256="b")
        assert other.id != made[0].id
        for jobs in gateways:
            await jobs.close()

    asyncio.run(flow())


def test_of_two_bodies_that_race_with_one_key_one_wins(url, folder):
    async def flow():
        gateways = [jobs_of(folder, url) for _ in range(2)]
        asked = [
            jobs.submit(plan(), SERIES, idempotency_key="k", body_sha256=str(number))
            for number, jobs in enumerate(gateways)
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert sorted(type(answer).__name__ for answer in answers) == ["InvalidRequest", "Job"]
        assert len(folders(folder)) == 1
        for jobs in gateways:
            await jobs.close()

    asyncio.run(flow())


class Effect:
    """Counts how often it is entered, and remembers the error it was left with."""

    def __init__(self, enter: Callable[[], None] = lambda: None) -> None:
        self.entered = 0
        self.error: BaseException | None = None
        self._enter = enter

    def __enter__(self) -> None:
        self.entered += 1
        self._enter()

    def __exit__(self, kind, error, traceback) -> None:
        self.error = error


def test_an_effect_happens_with_the_job_once_or_not_at_all(url, folder):
    def refuse() -> None:
        raise Conflict("no room")

    async def flow():
        jobs = jobs_of(folder, url, training_jobs=1, training_queue=1)
        effects = [Effect() for _ in range(6)]
        made = await asyncio.gather(
            *(jobs.submit(plan(), SERIES, idempotency_key="k", effect=one) for one in effects)
        )
        assert len({job.id for job in made}) == 1
        assert sum(one.entered for one in effects) == 1
        again, refusing, late = Effect(), Effect(refuse), Effect()
        repeated = await jobs.submit(plan(), SERIES, idempotency_key="k", effect=again)
        with pytest.raises(Conflict, match="no room"):
            await jobs.submit(plan(), SERIES, effect=refusing)
        await jobs.submit(plan(), SERIES)
        with pytest.raises(QueueFull):
            await jobs.submit(plan(), SERIES, effect=late)
        assert repeated.id == made[0].id
        assert (again.entered, late.entered) == (0, 0)
        assert len(await jobs.list(JobFilter())) == len(folders(folder)) == 2
        await jobs.close()

    asyncio.run(flow())


def test_a_repeated_request_is_no_newcomer_to_a_full_queue(url, folder):
    async def flow():
        jobs = jobs_of(folder, url, training_jobs=1, training_queue=0)
        asked = [jobs.submit(plan(), SERIES, idempotency_key="k") for _ in range(6)]
        assert len({job.id for job in await asyncio.gather(*asked)}) == 1
        await jobs.close()

    asyncio.run(flow())


def test_an_effect_is_told_where_the_job_cannot_be_committed(tmp_path, folder):
    with database_of("postgresql", tmp_path) as url:

        def cut_off() -> None:
            with psycopg.connect(url, autocommit=True) as server:
                server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

        async def flow():
            jobs = jobs_of(folder, url)
            effect = Effect(cut_off)
            with pytest.raises(DatabaseUnavailable):
                await jobs.submit(plan(), SERIES, effect=effect)
            assert effect.error is not None
            assert await jobs.list(JobFilter()) == []
            assert folders(folder) == set()
            await jobs.close()

        asyncio.run(flow())


def test_a_queue_has_a_length_and_a_full_one_leaves_nothing_behind(url, folder):
    async def flow():
        jobs = jobs_of(folder, url, training_jobs=1, training_queue=2)
        asked = [jobs.submit(plan(), SERIES) for _ in range(5)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, QueueFull)]
        assert len(refused) == 2
        assert refused[0].retry_after_s > 0
        assert len(folders(folder)) == 3

        made = [answer for answer in answers if not isinstance(answer, QueueFull)]
        await jobs.cancel(made[0].id)
        await jobs.submit(plan(), SERIES)
        assert (await jobs.health())["waiting"] == 3
        await jobs.close()

    asyncio.run(flow())


def test_a_gateway_that_starts_again_sees_everything(url, folder):
    async def flow():
        before = jobs_of(folder, url)
        training = await before.submit(plan(steps=7), SERIES)
        past = JobPlan(kind=JobKind.BACKTEST, model_id="patchtst", warnings=("so what",))
        backtest = await before.submit(past, SERIES)
        last = await before.submit(plan(), SERIES)
        await before.cancel(last.id)
        await before.close()

        jobs = jobs_of(folder, url)
        await jobs.start()

        async def ids(**wanted):
            return [job.id for job in await jobs.list(JobFilter(**wanted))]

        assert await ids() == [last.id, backtest.id, training.id]
        assert await ids(kind="backtest") == [backtest.id]
        assert await ids(model_id="lstm") == [last.id, training.id]
        assert await ids(state="pending") == [backtest.id, training.id]
        assert await ids(limit=1) == [last.id]
        assert await ids(before=last.id, limit=1) == [backtest.id]
        assert await ids(before=training.id) == []
        assert await ids(before="nothing") == []
        assert (await jobs.get(backtest.id)).warnings == ("so what",)
        assert read_plan(folder / training.id) == plan(steps=7)
        assert [event.kind async for event in jobs.events(last.id)] == ["state", "done"]
        await jobs.close()

    asyncio.run(flow())


def test_only_what_did_not_succeed_is_tried_again(url, folder):
    async def flow():
        jobs = jobs_of(folder, url)
        first = await jobs.submit(plan(steps=3), SERIES)
        with pytest.raises(Conflict, match="pending"):
            await jobs.retry(first.id)
        await jobs.cancel(first.id)
        assert (await jobs.cancel(first.id)).state is JobState.CANCELLED
        again = await jobs.retry(first.id)
        assert again.retry_of == first.id
        assert again.state is JobState.PENDING
        assert read_plan(folder / again.id) == plan(steps=3)
        assert read_plan_series(folder / again.id)[0].item_id == "a"
        await jobs.close()

    asyncio.run(flow())


@pytest.mark.parametrize(
    "name",
    ["nothing", UNKNOWN, "\0", "../jobs", "ü" * 100, ""],
    ids=["word", "unknown", "null", "path", "long", "empty"],
)
def test_a_job_that_there_is_not_is_not_found(name, tmp_path):
    async def flow():
        jobs = jobs_of(tmp_path / "jobs", f"sqlite:///{tmp_path / 'jobs.db'}")
        for ask in (jobs.get, jobs.cancel, jobs.retry, jobs.result, jobs.log):
            with pytest.raises(NotFound, match="no job of this id"):
                await ask(name)
        with pytest.raises(NotFound):
            await anext(jobs.events(name))
        await jobs.close()

    asyncio.run(flow())


def test_without_its_database_a_gateway_says_so_and_goes_on_when_it_is_back(tmp_path):
    async def flow():
        home = tmp_path / "home"
        (tmp_path / "jobs.db").mkdir()  # no database can be there
        jobs = jobs_of(tmp_path / "jobs", f"sqlite:///{tmp_path / 'jobs.db'}")
        await jobs.start()
        assert "does not answer" in (await jobs.health())["database"]
        with pytest.raises(DatabaseUnavailable):
            await jobs.submit(plan(), SERIES)
        assert not home.exists()
        assert folders(tmp_path / "jobs") == set()

        (tmp_path / "jobs.db").rmdir()
        job = await jobs.submit(plan(), SERIES)
        assert (await jobs.health()) == {"database": None, "workers": 0, "waiting": 1, "running": 0}
        assert (await jobs.get(job.id)).state is JobState.PENDING
        await jobs.close()

    asyncio.run(flow())


def test_the_oldest_jobs_that_are_over_are_forgotten_and_what_nobody_knows_is_removed(url, folder):
    async def flow():
        jobs = jobs_of(folder, url, jobs_kept=2)
        made = [await jobs.submit(plan(), SERIES) for _ in range(5)]
        for job in made[:4]:
            await jobs.cancel(job.id)
        orphan = folder / new_id(JobKind.TRAINING)
        fresh = folder / new_id(JobKind.TRAINING)
        foreign = folder / "notes"
        for path in (orphan, fresh, foreign):
            path.mkdir()
            (path / "plan.json").touch()
        old = time.time() - 86_400
        for path in (orphan, foreign):
            os.utime(path, (old, old))

        await jobs.sweep()

        left = [made[4].id, made[3].id, made[2].id]
        assert [job.id for job in await jobs.list(JobFilter())] == left
        assert folders(folder) == {*left, fresh.name, foreign.name}
        with pytest.raises(NotFound):
            await jobs.get(made[0].id)
        await jobs.close()

    asyncio.run(flow())


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.binary(max_size=60), max_size=8),
    last=st.integers(min_value=1, max_value=200),
)
def test_whatever_is_printed_its_end_is_read_and_its_whole_lines_once(tmp_path, parts, last):
    log = tmp_path / "log.txt"
    log.write_bytes(b"")
    tail, read = LogTail(tmp_path), []
    for part in parts:
        with log.open("ab") as file:
            file.write(part)
        read += tail.lines()
    whole = b"".join(parts)
    ended = whole.rpartition(b"\n")[0]
    lines = [told(line.strip()) for line in ended.decode(errors="replace").splitlines()]
    assert "".join(read).split() == "".join(lines).split()
    shown = told(whole.decode(errors="replace"))
    assert shown.endswith(end_of_log(tmp_path, last).lstrip("\ufffd"))


def test_a_log_that_was_cut_is_read_on(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("one\n" * 100)
    tail = LogTail(tmp_path)
    log.write_text("two\n")
    assert tail.lines() == ["two"]
    assert tail.lines() == []


def test_the_last_event_is_told_of_a_job_that_ends_between_two_looks(url, folder, monkeypatch):
    async def flow():
        jobs = jobs_of(folder, url)
        job = await jobs.submit(plan(), SERIES)
        looked = jobs._is_over

        async def ends_just_before(job_id):
            await jobs.cancel(job_id)
            return await looked(job_id)

        monkeypatch.setattr(jobs, "_is_over", ends_just_before)
        told = [event async for event in jobs.events(job.id)]
        assert told[-1].kind == "done"
        await jobs.close()

    asyncio.run(flow())
