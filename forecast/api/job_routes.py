"""The jobs of this deployment: what they do, what became of them, and how to end them."""

import asyncio
from pathlib import Path as File
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import FileResponse

from forecast.api.events import EVENT_STREAM, EventStreams
from forecast.api.openapi import problems, ref
from forecast.api.responses import json_response
from forecast.api.schemas import JobDocument, JobEventDocument, JobResultDocument, JobsDocument
from forecast.api.training_routes import IdempotencyKey
from forecast.core.errors import NotFound
from forecast.jobs.folders import RESULT
from forecast.jobs.jobs import Jobs
from forecast.jobs.records import Job, JobFilter, JobKind, JobState
from forecast.training.results import TABLE

PARQUET = "application/vnd.apache.parquet"
LONGEST_LOG = 1 << 20
MOST_JOBS = 500  # a page

JobId = Annotated[str, Path(max_length=100)]
_NAME = r"^[A-Za-z0-9_-]{1,100}$"
ModelId = Annotated[str | None, Query(pattern=_NAME, description="Of this model.")]
Kind = Annotated[JobKind | None, Query(description="Of this kind.")]
State = Annotated[JobState | None, Query(description="In this state.")]
Limit = Annotated[int, Query(ge=1, le=MOST_JOBS, description="Jobs to list at most.")]
Before = Annotated[
    str | None, Query(pattern=_NAME, description="Id of a job; only older ones are listed.")
]
LogBytes = Annotated[int, Query(ge=1, le=LONGEST_LOG, description="Bytes from its end at most.")]
LastEvent = Annotated[
    int,
    Header(
        alias="Last-Event-ID", ge=0, le=2**31 - 1, description="Go on after the event of this id."
    ),
]
Accept = Annotated[str, Header(include_in_schema=False)]


def job_router(jobs: Jobs, streams: EventStreams) -> APIRouter:
    """Build `/jobs` and what is under it."""
    router = APIRouter(tags=["jobs"], prefix="/jobs")
    _add_looks(router, jobs, streams)
    _add_results(router, jobs)
    _add_changes(router, jobs)
    return router


def _add_looks(router: APIRouter, jobs: Jobs, streams: EventStreams) -> None:
    @router.get("", response_model=JobsDocument, responses=problems(401, 422, 503))
    async def list_jobs(
        request: Request,
        model_id: ModelId = None,
        kind: Kind = None,
        state: State = None,
        limit: Limit = 100,
        before: Before = None,
    ) -> Response:
        """List the jobs, newest first; `next` leads to the older ones."""
        wanted = JobFilter(
            model_id=model_id, kind=kind, state=state, limit=limit + 1, before=before
        )
        found = await jobs.list(wanted)
        listed = found[:limit]
        following = _page_after(request, listed[-1]) if len(found) > limit else None
        documents = [job.model_dump(mode="json") for job in listed]
        return json_response({"jobs": documents, "count": len(documents), "next": following})

    @router.get(
        "/{job_id}",
        response_model=JobDocument,
        responses=problems(401, 404, 422, 503),
    )
    async def get_job(job_id: JobId) -> Response:
        """Show a job: its state, its last progress, what it has done, why it failed."""
        return _described(await jobs.get(job_id))

    @router.get(
        "/{job_id}/events",
        response_class=Response,
        responses={200: _EVENTS, 204: _NO_MORE, **problems(401, 404, 422, 429, 503)},
    )
    async def follow_job(job_id: JobId, last_event_id: LastEvent = 0) -> Response:
        """Follow a job as server-sent events: `progress`, `log`, `state`, and in the end `done`.

        What has happened already comes first. Every event has an id; a caller who was cut off
        sends the last as `Last-Event-ID` and misses none. A comment every 15 s keeps a silent
        stream open. After `done` the stream ends.
        """
        job = await jobs.get(job_id)
        past_and_live = jobs.events(job_id, last_event_id)
        return await streams.follow(past_and_live, wait=not job.state.is_over)


def _add_results(router: APIRouter, jobs: Jobs) -> None:
    @router.get(
        "/{job_id}/log",
        response_class=Response,
        responses={200: _LOG, **problems(401, 404, 422, 503)},
    )
    async def get_job_log(job_id: JobId, last: LogBytes = 65_536) -> Response:
        """Show the end of what the processes of a job have printed."""
        return Response(await jobs.log(job_id, last=last), media_type="text/plain")

    @router.get(
        "/{job_id}/result",
        response_model=JobResultDocument,
        responses={200: _RESULT, **problems(401, 404, 422, 503)},
    )
    async def get_job_result(job_id: JobId, accept: Accept = "") -> Response:
        """Show what a job made; of a backtest also each forecast, as Parquet."""
        folder = File(await jobs.result(job_id))
        if PARQUET in accept.lower():
            return await asyncio.to_thread(_table, folder)
        return await asyncio.to_thread(_document, folder)


def _add_changes(router: APIRouter, jobs: Jobs) -> None:
    @router.post(
        "/{job_id}/cancel",
        response_model=JobDocument,
        responses=problems(401, 404, 409, 422, 503),
    )
    async def cancel_job(job_id: JobId) -> Response:
        """End a job that waits or runs; what it has published stays. Asking twice is fine."""
        return _described(await jobs.cancel(job_id))

    @router.post(
        "/{job_id}/retry",
        status_code=202,
        response_model=JobDocument,
        responses=problems(401, 404, 409, 422, 429, 503, 507),
    )
    async def retry_job(
        request: Request, job_id: JobId, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Start a job that failed or was cancelled again, as a new job that skips what is done."""
        job = await jobs.retry(job_id, idempotency_key=idempotency_key)
        response = _described(job, 202)
        parent = request.url.path.removesuffix(f"/{job_id}/retry")
        response.headers["Location"] = f"{parent}/{job.id}"
        return response


def _described(job: Job, status: int = 200) -> Response:
    return json_response(job.model_dump(mode="json"), status)


def _page_after(request: Request, last: Job) -> str:
    kept = {name: text for name, text in request.query_params.items() if name != "before"}
    return f"{request.url.path}?{urlencode({**kept, 'before': last.id})}"


def _document(folder: File) -> Response:
    try:
        return Response((folder / RESULT).read_bytes(), media_type="application/json")
    except FileNotFoundError:
        raise NotFound("the job was forgotten meanwhile") from None


def _table(folder: File) -> Response:
    if not (folder / TABLE).is_file():
        raise NotFound("this job made no table; ask for application/json")
    return FileResponse(folder / TABLE, media_type=PARQUET)


_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
_EVENTS: dict[str, Any] = {
    "description": "The events as they come, until the job is over.",
    "content": {
        EVENT_STREAM: {
            "schema": {
                "type": "string",
                "contentMediaType": EVENT_STREAM,
                "contentSchema": {"type": "array", "items": ref(JobEventDocument.__name__)},
            }
        }
    },
}
_NO_MORE: dict[str, Any] = {"description": "The job is over and `Last-Event-ID` was the last."}
_LOG: dict[str, Any] = {
    "description": "The end of the log; empty where nothing was printed.",
    "content": {"text/plain": _TEXT},
}
_RESULT: dict[str, Any] = {
    "description": "The result, as `Accept` asks for.",
    "content": {PARQUET: {"schema": {"type": "string", "format": "binary"}}},
}
