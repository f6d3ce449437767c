"""What starts a job: `training` and `backtest` of each model, and `/train/<model_id>`."""

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import Field

from forecast.api import examples
from forecast.api.dataset_routes import DatasetForm
from forecast.api.openapi import problems, takes
from forecast.api.responses import json_response
from forecast.api.schemas import JobDocument
from forecast.core.errors import NotTrainable, UnknownModel
from forecast.jobs.jobs import Jobs
from forecast.jobs.records import Job
from forecast.models.spec import ModelSpec
from forecast.training.data import JobUpload
from forecast.training.datasets import Datasets, StagedDataset
from forecast.training.plan import BacktestPlan, TrainingPlan
from forecast.training.requests import (
    BacktestRequest,
    Body,
    JobReader,
    JobRequest,
    TrainingRequest,
)

_PROBLEMS = (400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 501, 502, 503, 507)
_BOUNDARY = re.compile(r'boundary="?([^";,\s]{1,70})')

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="The same key with the same request starts no second job.",
    ),
]
SkipSnapshot = Annotated[bool, Query(description="Train the current model alone.")]
Read = Callable[[Body], JobRequest[TrainingPlan] | JobRequest[BacktestPlan]]


class TrainingForm(DatasetForm):
    """The parts of an upload to learn from; `schema` and `parameters` are JSON."""

    parameters: TrainingPlan = Field(
        TrainingPlan(), description="What the training does, without its data."
    )
    dataset: str | None = Field(
        None, max_length=63, description="Store the upload as a dataset of this name."
    )


class BacktestForm(DatasetForm):
    """The parts of an upload to backtest on; `schema` and `parameters` are JSON."""

    parameters: BacktestPlan = Field(description="What the backtest does, without its data.")
    dataset: str | None = Field(
        None, max_length=63, description="Store the upload as a dataset of this name."
    )


@dataclass(frozen=True, slots=True)
class TrainingJobs:
    """The jobs of a gateway, and what reads the requests that start them."""

    jobs: Jobs
    reader: JobReader


def training_router(spec: ModelSpec, training: TrainingJobs, prefix: str) -> APIRouter:
    """Build `training` and `backtest` of a model, for its router at `<prefix>/<model_id>`."""
    router = APIRouter(tags=["training"])
    reader = training.reader

    @router.post(
        "/training",
        status_code=202,
        response_model=JobDocument,
        responses=problems(*_PROBLEMS),
        openapi_extra=takes(TrainingRequest, form=TrainingForm, shown=examples.TRAININGS),
    )
    async def train_model(
        request: Request,
        skip_snapshot: SkipSnapshot = False,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Train, or fine-tune, in the background. `GET jobs/<id>` tells how it goes."""
        read = partial(reader.read_training, spec=spec, skip_snapshots=skip_snapshot)
        return await _started(request, training, read, idempotency_key, prefix)

    @router.post(
        "/backtest",
        status_code=202,
        response_model=JobDocument,
        responses=problems(*_PROBLEMS),
        openapi_extra=takes(BacktestRequest, form=BacktestForm, shown=examples.BACKTESTS),
    )
    async def backtest_model(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
        """Forecast from origins in the past, each with what was known then, in the background."""
        read = partial(reader.read_backtest, spec=spec)
        return await _started(request, training, read, idempotency_key, prefix)

    return router


def short_training_router(
    specs: Mapping[str, ModelSpec], training: TrainingJobs, prefix: str
) -> APIRouter:
    """Build `/train/<model_id>` of each model that can be trained.

    Args:
        prefix: of the jobs that are started.
    """
    router = APIRouter(tags=["training"], prefix="/train")
    reader = training.reader
    trainable = [model_id for model_id, spec in specs.items() if _learns(spec)]

    @router.post(
        "/{model_id}",
        status_code=202,
        response_model=JobDocument,
        responses=problems(*_PROBLEMS),
        openapi_extra=takes(TrainingPlan, shown=examples.SHORT_TRAININGS, required=False),
    )
    async def train_on_default_data(
        request: Request,
        model_id: Annotated[str, Path(json_schema_extra={"enum": trainable})],
        skip_snapshot: SkipSnapshot = False,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Train on the default data of this deployment: the current model, then each past year.

        What the store holds already is not trained again.
        """
        spec = _trainable(specs, model_id)
        read = partial(reader.read_default_training, spec=spec, skip_snapshots=skip_snapshot)
        return await _started(request, training, read, idempotency_key, prefix)

    return router


def _learns(spec: ModelSpec) -> bool:
    return spec.capabilities.trainable or spec.capabilities.fine_tunable


def _trainable(specs: Mapping[str, ModelSpec], model_id: str) -> ModelSpec:
    """Find a model that can be trained.

    Raises:
        NotTrainable: it has nothing to learn.
        UnknownModel: there is none of this id.
    """
    spec = specs.get(model_id)
    if spec is None:
        raise UnknownModel(f"no model {model_id!r} is served here; there are {', '.join(specs)}")
    if not _learns(spec):
        raise NotTrainable(f"{spec.name} has nothing to learn; it forecasts as it is")
    return spec


async def _started(
    request: Request, training: TrainingJobs, read: Read, key: str | None, prefix: str
) -> Response:
    """Read a request in a thread and queue its job; its file is stored if the job is accepted."""
    content_type = request.headers.get("content-type", "application/json")
    body = Body(await request.body(), content_type)
    sha256 = _digest(request, body)
    if earlier := await training.jobs.earlier(key, sha256):  # its data may be gone by now
        return _accepted(earlier, prefix)
    asked = await asyncio.to_thread(read, body)
    datasets = training.reader.datasets
    staged = await asyncio.to_thread(_staged, datasets, asked.upload)
    try:
        job = await training.jobs.submit(
            asked.job,
            asked.series,
            idempotency_key=key,
            body_sha256=sha256,
            effect=datasets.placed(staged) if staged else None,
        )
    finally:
        if staged is not None:
            staged.discard()
    return _accepted(job, prefix)


def _staged(datasets: Datasets, upload: JobUpload | None) -> StagedDataset | None:
    """Write the file of an upload to a draft, if its caller asked to store it under a name."""
    if upload is None or upload.dataset is None:
        return None
    return datasets.stage(upload.dataset, upload.file, upload.schema)


def _accepted(job: Job, prefix: str) -> Response:
    response = json_response(job.model_dump(mode="json"), 202)
    response.headers["Location"] = f"{prefix}/jobs/{job.id}"
    return response


def _digest(request: Request, body: Body) -> str:
    """Hash all that makes two requests the same: path, query and body.

    A client draws the boundary between the parts of a form anew each time; it is left out.
    """
    digest = hashlib.sha256(f"{request.url.path}?{request.url.query}\n".encode())
    boundary = _BOUNDARY.search(body.content_type) if body.is_form else None
    content = body.content.replace(boundary[1].encode(), b"") if boundary else body.content
    digest.update(content)
    return digest.hexdigest()
