"""A worker killed at random moments, again and again: no finished step is repeated."""

import asyncio
import random

import pytest

from forecast.jobs.records import JobState
from tests.examples import examples
from tests.jobs.jobs_at_work import (
    SERIES,
    database_of,
    effects,
    jobs_of,
    plan,
    until_over,
    until_true,
    workers,
)

KILLS = examples(20)
STEPS = 30 * KILLS


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_worker_killed_at_random_repeats_only_the_step_it_was_in(database, tmp_path):
    folder = tmp_path / "jobs"
    chance = random.Random(7)

    async def flow(url: str):
        jobs = jobs_of(folder, url)
        job = await jobs.submit(plan(steps=STEPS), SERIES)
        for _ in range(KILLS):
            with workers(folder, url, "one", training_attempts=KILLS + 1) as (worker,):
                wanted = len(effects(folder, job)) + chance.randint(1, STEPS // (2 * KILLS))
                await until_true(lambda wanted=wanted: len(effects(folder, job)) >= wanted, "on")
                worker.kill()
        with workers(folder, url, "one", training_attempts=KILLS + 1):
            over = await until_over(jobs, job.id)
        await jobs.close()
        return job, over

    with database_of(database, tmp_path) as url:
        job, over = asyncio.run(flow(url))
    assert over.state is JobState.SUCCEEDED
    assert over.message == f"did {list(range(STEPS))}"
    assert over.attempts <= KILLS + 1
    assert [window.window for window in over.windows] == [str(number) for number in range(STEPS)]
    begun = effects(folder, job)
    assert begun == sorted(begun)  # nobody went back to a step before the one it was in
    assert set(begun) == set(range(STEPS))
    assert len(begun) <= STEPS + KILLS
