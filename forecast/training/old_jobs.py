"""The jobs of this gateway: queued, run a few at a time, cancelled, remembered."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from forecast.core.atomic import discard
from forecast.core.errors import (
    Conflict,
    ForecastError,
    LicenseNotAccepted,
    NotFound,
    QueueFull,
)
from forecast.models.base.saved import TRAINING_FILE
from forecast.models.spec import ModelSpec
from forecast.store.sources import SourceResolver
from forecast.training.process import Failure, ProcessOptions, run_training
from forecast.training.old_records import Job, JobError, JobFolders, JobState, interrupted, now
from forecast.training.requests import TrainingPlan
from forecast.training.runner import ORDER, TRAIN, VALIDATION, Order, draft_of
from forecast.training.series_files import write_series

log = logging.getLogger(__name__)

_KEPT = 1000


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How jobs are run.

    Attributes:
        folder: of the records and of what a job needs while it runs.
        models: a trained model goes to `<models>/<model_id>/trained/<job id>`, which
            `local:` sources find.
        process: how the process of a model is run.
        accepted_licenses: models whose non-commercial license is accepted; `all` for any.
        at_once: jobs that run at a time.
        max_waiting: jobs that may wait.
        limit_s: the longest a job may run.
    """

    folder: Path
    models: Path
    process: Callable[[ModelSpec], ProcessOptions]
    accepted_licenses: tuple[str, ...] = ()
    at_once: int = 1
    max_waiting: int = 16
    limit_s: float = 86_400.0


class TrainingJobs:
    """Runs jobs one after the other. Lives on one event loop; its jobs end with it."""

    def __init__(self, options: TrainingOptions, sources: SourceResolver) -> None:
        """Remember how; nothing is read or begun before `start`."""
        self._options = options
        self._sources = sources
        self._folders = JobFolders(options.folder, _KEPT)
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[tuple[str, TrainingPlan]] = deque()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._arriving = 0  # jobs being written down

    async def start(self) -> None:
        """Read what is known of earlier jobs."""
        jobs = await asyncio.to_thread(self._folders.read)
        self._jobs = {job.id: job for job in jobs}

    async def close(self) -> None:
        """End what runs; what was under way has failed."""
        self._waiting.clear()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job in self._jobs.values():
            if not job.is_over:
                self._keep(interrupted(job))

    # What callers ask

    async def submit(self, plan: TrainingPlan) -> Job:
        """Queue a job; it begins when there is room.

        Raises:
            QueueFull: too many wait already.
            LicenseNotAccepted: of the weights that it starts from.
        """
        self._check_license(plan)
        self._check_room()
        job = Job.new(plan.spec.model_id, plan.warnings)
        self._arriving += 1
        try:
            await asyncio.to_thread(self._write_down, job, plan)
        finally:
            self._arriving -= 1
        self._jobs[job.id] = job
        self._waiting.append((job.id, replace(plan, train=(), validation=())))  # on the disk now
        self._begin_next()
        return self._jobs[job.id]

    def newest_first(self) -> list[Job]:
        """List all jobs."""
        return list(reversed(self._jobs.values()))

    def get(self, job_id: str) -> Job:
        """Look at a job.

        Raises:
            NotFound: there is none of this id.
        """
        if job_id not in self._jobs:
            raise NotFound("there is no job of this id; GET /forecast/v1/jobs lists them")
        return self._jobs[job_id]

    def cancel(self, job_id: str) -> Job:
        """End a job that waits or runs; asking twice is fine.

        Raises:
            NotFound: there is none of this id.
            Conflict: it is over.
        """
        job = self.get(job_id)
        if job.state is JobState.CANCELLED:
            return job
        if job.is_over:
            raise Conflict(f"the job has {job.state} already")
        if task := self._running.get(job_id):
            self._change(job_id, state=JobState.CANCELLING)
            task.cancel()
        else:
            self._waiting = deque(entry for entry in self._waiting if entry[0] != job_id)
            self._change(job_id, state=JobState.CANCELLED, finished_at=now())
        return self._jobs[job_id]

    def result(self, job_id: str) -> dict[str, Any]:
        """Show what a job made, and how to load it.

        Raises:
            NotFound: there is no such job, or it has no result.
        """
        job = self.get(job_id)
        if job.state is not JobState.SUCCEEDED:
            raise NotFound(f"the job is {job.state} and has no result; look at the job")
        file = self._target(job) / TRAINING_FILE
        training: Mapping[str, Any] = json.loads(file.read_bytes()) if file.exists() else {}
        return {
            "job_id": job.id,
            "model_id": job.model_id,
            "source": job.source,
            "metrics": job.metrics,
            "training": training,
        }

    # How they run

    def _check_room(self) -> None:
        idle = self._options.at_once - len(self._running)
        if len(self._waiting) + self._arriving >= self._options.max_waiting + idle:
            raise QueueFull(
                f"{len(self._waiting)} trainings wait already; try again later", retry_after_s=60
            )

    def _check_license(self, plan: TrainingPlan) -> None:
        terms, accepted = plan.spec.license, self._options.accepted_licenses
        fine = terms.commercial_use or plan.source is None or plan.accept_license
        if not fine and not {plan.spec.model_id, "all"} & set(accepted):
            raise LicenseNotAccepted(
                f"the weights of {plan.spec.model_id} are licensed under {terms.id}, which forbids"
                " commercial use; send accept_license: true if that suits you"
            )

    def _write_down(self, job: Job, plan: TrainingPlan) -> None:
        folder = self._folders.folder(job.id)
        folder.mkdir(parents=True)
        write_series(folder / TRAIN, plan.train)
        write_series(folder / VALIDATION, plan.validation)
        self._folders.write(job)

    def _begin_next(self) -> None:
        while self._waiting and len(self._running) < self._options.at_once:
            job_id, plan = self._waiting.popleft()
            self._change(job_id, state=JobState.RUNNING, started_at=now())
            task = asyncio.create_task(self._run(job_id, plan))
            self._running[job_id] = task
            task.add_done_callback(partial(self._ended, job_id))

    def _ended(self, job_id: str, task: asyncio.Task[None]) -> None:
        del self._running[job_id]
        discard(draft_of(self._target(self._jobs[job_id])))
        if task.cancelled() and self._jobs[job_id].state is JobState.CANCELLING:
            self._change(job_id, state=JobState.CANCELLED, finished_at=now())
        self._folders.forget_oldest(self._jobs)
        self._begin_next()

    async def _run(self, job_id: str, plan: TrainingPlan) -> None:
        try:
            outcome = await asyncio.wait_for(self._train(job_id, plan), self._options.limit_s)
        except TimeoutError:
            limit = f"it took longer than the {self._options.limit_s:g} s allowed"
            outcome = Failure("deadline_passed", limit)
        except ForecastError as error:
            outcome = Failure(error.code, error.detail)
        except Exception:
            log.exception("job %s failed", job_id)
            outcome = Failure(ForecastError.code, "training failed for a reason of ours")
        self._finish(job_id, outcome)

    async def _train(self, job_id: str, plan: TrainingPlan) -> Failure | dict[str, float]:
        weights = None
        if plan.source is not None:
            self._change(job_id, progress={"phase": "loading the weights"})
            found = await asyncio.to_thread(
                self._sources.resolve, plan.source, model_id=plan.spec.model_id
            )
            weights = found.path.absolute()
        folder = self._folders.folder(job_id)
        order = Order(
            model_id=plan.spec.model_id,
            config=dict(plan.config),
            weights=weights,
            target=self._target(self._jobs[job_id]).absolute(),
            data_reference=plan.data_reference,
        )
        (folder / ORDER).write_text(order.model_dump_json())
        return await run_training(
            plan.spec,
            folder.absolute(),
            self._options.process(plan.spec),
            lambda progress: self._change(job_id, written=False, progress=progress),
        )

    def _finish(self, job_id: str, outcome: Failure | dict[str, float]) -> None:
        if isinstance(outcome, Failure):
            error = JobError(code=outcome.code, detail=outcome.detail)
            self._change(job_id, state=JobState.FAILED, finished_at=now(), error=error)
            return
        path = self._target(self._jobs[job_id]).relative_to(self._options.models)
        self._change(
            job_id,
            state=JobState.SUCCEEDED,
            finished_at=now(),
            metrics=outcome,
            source=f"local:{path.as_posix()}",
        )

    def _target(self, job: Job) -> Path:
        return self._options.models / job.model_id / "trained" / job.id

    def _change(self, job_id: str, *, written: bool = True, **changes: Any) -> None:
        job = self._jobs[job_id].model_copy(update=changes)
        self._jobs[job_id] = job
        if written:
            self._keep(job)

    def _keep(self, job: Job) -> None:
        self._jobs[job.id] = job
        try:
            self._folders.write(job)
        except OSError:
            log.exception("the record of job %s cannot be written", job.id)
