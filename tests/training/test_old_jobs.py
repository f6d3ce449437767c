"""The limits of jobs, with processes that behave as their test says."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forecast.core.errors import LicenseNotAccepted, NotFound, QueueFull
from forecast.core.types import Series
from forecast.models import MODEL_REGISTRY
from forecast.models.spec import License
from forecast.store.hub import HubSettings
from forecast.store.sources import SourceResolver
from forecast.training.old_jobs import TrainingJobs, TrainingOptions
from forecast.training.process import ProcessOptions
from forecast.training.old_records import Job, JobFolders, JobState
from forecast.training.requests import TrainingPlan

PATIENCE_S = 20.0
SPEC = MODEL_REGISTRY["lstm"]
PLAN = TrainingPlan(SPEC, {}, (Series(np.arange(9.0)[None]),), ())
HANG = "exec sleep 1000"
DONE = """echo '{"done": {"loss": 0.5}}'"""


def jobs_of(folder: Path, script: str, **changes: object) -> TrainingJobs:
    """Jobs whose process is a shell script in place of an interpreter."""
    program = folder / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    options = TrainingOptions(
        folder=folder / "jobs",
        models=folder / "models",
        process=lambda spec: ProcessOptions(program, {"PATH": "/bin:/usr/bin"}, {"key": "secret"}),
    )
    hub = HubSettings(endpoint=None, token=None, offline=True, cache=None)
    sources = SourceResolver(
        local_roots=[folder / "models"], cache=folder / "cache", hub=hub, mlflow_tracking_uri=None
    )
    return TrainingJobs(replace(options, **changes), sources)


async def over(jobs: TrainingJobs, job_id: str):
    async with asyncio.timeout(PATIENCE_S):
        while not jobs.get(job_id).is_over:
            await asyncio.sleep(0.01)
    return jobs.get(job_id)


def test_a_job_that_takes_too_long_fails(tmp_path):
    async def go():
        jobs = jobs_of(tmp_path, HANG, limit_s=0.2)
        return await over(jobs, (await jobs.submit(PLAN)).id)

    job = asyncio.run(go())
    assert (job.state, job.error.code) == (JobState.FAILED, "deadline_passed")


def test_a_process_that_is_killed_fails_its_job(tmp_path):
    async def go():
        jobs = jobs_of(tmp_path, "kill -9 $$")
        return await over(jobs, (await jobs.submit(PLAN)).id)

    assert asyncio.run(go()).error.code == "host_unavailable"


def test_an_environment_that_is_not_there_is_told_with_its_command(tmp_path):
    spec = replace(SPEC, environment="elsewhere")

    async def go():
        jobs = jobs_of(tmp_path, DONE, process=lambda spec: ProcessOptions(tmp_path / "none"))
        return await over(jobs, (await jobs.submit(replace(PLAN, spec=spec))).id)

    job = asyncio.run(go())
    assert job.error.code == "missing_library"
    assert "setup.sh env elsewhere" in job.error.detail


def test_jobs_run_a_few_at_a_time_in_order_and_the_queue_is_bounded(tmp_path):
    async def go():
        jobs = jobs_of(tmp_path, HANG, max_waiting=1)
        first = await jobs.submit(PLAN)
        second = await jobs.submit(PLAN)
        assert (first.state, second.state) == (JobState.RUNNING, JobState.PENDING)
        with pytest.raises(QueueFull) as refused:
            await jobs.submit(PLAN)
        assert refused.value.retry_after_s
        assert [job.id for job in jobs.newest_first()] == [second.id, first.id]
        jobs.cancel(first.id)
        await over(jobs, first.id)
        assert jobs.get(second.id).state is JobState.RUNNING
        await jobs.close()
        return jobs.get(second.id)

    assert asyncio.run(go()).error.code == "interrupted"


def test_a_job_cancelled_before_its_process_starts_is_cancelled(tmp_path):
    async def go():
        jobs = jobs_of(tmp_path, HANG)
        job = await jobs.submit(PLAN)
        jobs.cancel(job.id)
        return await over(jobs, job.id)

    assert asyncio.run(go()).state is JobState.CANCELLED


def test_what_the_operator_sets_goes_through_a_pipe_and_into_no_file(tmp_path):
    """The process fails unless it is told, and what is left on the disk does not have it."""
    script = f"""read line; case "$line" in *secret*) {DONE};; esac"""

    async def go():
        jobs = jobs_of(tmp_path, script)
        return await over(jobs, (await jobs.submit(PLAN)).id)

    assert asyncio.run(go()).state is JobState.SUCCEEDED
    kept = [file.read_text() for file in (tmp_path / "jobs").rglob("*") if file.is_file()]
    assert kept
    assert not any("secret" in text for text in kept)


def test_weights_that_forbid_commercial_use_are_not_tuned_unasked(tmp_path):
    spec = replace(SPEC, license=License("CC-BY-NC-4.0", False, "https://example.org"))
    plan = replace(PLAN, spec=spec, source="local:lstm")

    async def go():
        jobs = jobs_of(tmp_path, DONE)
        with pytest.raises(LicenseNotAccepted, match="accept_license"):
            await jobs.submit(plan)
        await jobs.submit(replace(plan, accept_license=True))
        await jobs.close()
        await jobs_of(tmp_path, DONE, accepted_licenses=("lstm",)).submit(plan)

    asyncio.run(go())


def test_a_record_that_is_broken_is_passed_over(tmp_path):
    (tmp_path / "jobs" / "tr_1").mkdir(parents=True)
    (tmp_path / "jobs" / "tr_1" / "job.json").write_text(json.dumps({"id": "tr_1"}))

    async def go():
        jobs = jobs_of(tmp_path, DONE)
        await jobs.start()
        with pytest.raises(NotFound):
            jobs.get("tr_1")
        return jobs.newest_first()

    assert asyncio.run(go()) == []


def test_the_oldest_jobs_that_are_over_are_forgotten_with_their_folders(tmp_path):
    folders = JobFolders(tmp_path, kept=1)
    made = [Job.new("lstm", ()) for _ in range(3)]
    jobs = {job.id: job.model_copy(update={"state": JobState.SUCCEEDED}) for job in made[:2]}
    jobs[made[2].id] = made[2]
    for job in jobs.values():
        folders.write(job)
    folders.forget_oldest(jobs)
    assert list(jobs) == [made[1].id, made[2].id]
    assert {path.name for path in tmp_path.iterdir()} == set(jobs)
