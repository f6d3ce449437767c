"""`POST training` of each model, and the jobs that it starts."""

import asyncio
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from forecast.api.openapi import problems, training_docs
from forecast.api.responses import json_response
from forecast.api.schemas import JobDocument, JobResultDocument, JobsDocument
from forecast.data.policy import DataPolicy
from forecast.models.spec import ModelSpec
from forecast.training.jobs import Jobs
from forecast.training.old_jobs import TrainingJobs
from forecast.training.old_records import Job
from forecast.training.requests import read_training


@dataclass(frozen=True, slots=True)
class Training:
    """The jobs of a gateway, and what their data may be."""

    jobs: TrainingJobs | Jobs
    policy: DataPolicy


def training_router(spec: ModelSpec, training: Training, prefix: str) -> APIRouter:
    """Build `training` of a model, for its router at `<prefix>/<model_id>`."""
    router = APIRouter()

    @router.post(
        "/training",
        operation_id=f"{spec.model_id}_training",
        response_model=JobDocument,
        **training_docs(spec.model_id),
    )
    async def train(request: Request) -> Response:
        """Train, or fine-tune, in the background. `GET jobs/<id>` tells how it goes."""
        plan = await asyncio.to_thread(
            read_training,
            await request.body(),
            request.headers.get("content-type", "application/json"),
            spec,
            training.policy,
        )
        if isinstance(training.jobs, Jobs):
            raise TypeError("the old route is for the old jobs")
        job = await training.jobs.submit(plan)
        response = _described(job, 202)
        response.headers["Location"] = f"{prefix}/jobs/{job.id}"
        return response

    return router


def job_router(jobs: TrainingJobs) -> APIRouter:
    """Build `/jobs` and what is under it."""
    router = APIRouter(tags=["jobs"], prefix="/jobs")

    @router.get("", operation_id="jobs", response_model=JobsDocument, responses=problems(401))
    async def newest_first() -> Response:
        """List the jobs, newest first."""
        found = [job.model_dump(mode="json") for job in jobs.newest_first()]
        return json_response({"jobs": found, "count": len(found)})

    @router.get(
        "/{job_id}",
        operation_id="job",
        response_model=JobDocument,
        responses=problems(401, 404, 422),
    )
    async def job(job_id: str) -> Response:
        """Show a job: its state, its last progress, why it failed."""
        return _described(jobs.get(job_id))

    @router.post(
        "/{job_id}/cancel",
        operation_id="job_cancel",
        response_model=JobDocument,
        responses=problems(401, 404, 409, 422, 503),
    )
    async def cancel(job_id: str) -> Response:
        """End a job that waits or runs; what it learned is gone."""
        return _described(jobs.cancel(job_id))

    @router.get(
        "/{job_id}/result",
        operation_id="job_result",
        response_model=JobResultDocument,
        responses=problems(401, 404, 422),
    )
    async def result(job_id: str) -> Response:
        """Show what a job made, and the `source` that loads it."""
        return json_response(await asyncio.to_thread(jobs.result, job_id))

    return router


def _described(job: Job, status: int = 200) -> Response:
    return json_response(job.model_dump(mode="json"), status)
