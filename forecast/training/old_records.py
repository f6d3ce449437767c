"""What is known of a job, and where it is written down."""

import logging
import secrets
import shutil
import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from forecast.core.atomic import write_text

log = logging.getLogger(__name__)

RECORD = "job.json"
_KEPT_IN_FOLDER = {RECORD, "log.txt"}  # of a job that is over; its data is not ours to keep


class JobState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class JobError(BaseModel):
    """Why a job failed; `code` as in an error of the API."""

    model_config = ConfigDict(frozen=True)

    code: str
    detail: str


class Job(BaseModel):
    """A snapshot of a job, never edited.

    Attributes:
        progress: the last report of the training.
        source: of the trained model, for `initialization`, once the job has succeeded.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    id: str
    kind: str = "training"
    model_id: str
    state: JobState = JobState.PENDING
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    progress: dict[str, Any] | None = None
    metrics: dict[str, float] = {}
    source: str | None = None
    error: JobError | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def new(cls, model_id: str, warnings: tuple[str, ...]) -> "Job":
        job_id = f"tr_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"
        return cls(id=job_id, model_id=model_id, created_at=now(), warnings=warnings)

    @property
    def is_over(self) -> bool:
        return self.state in OVER


def now() -> datetime:
    return datetime.now(UTC)


class JobFolders:
    """A folder for each job: its record, its data while it runs, its log."""

    def __init__(self, root: Path, kept: int) -> None:
        """Remember where they are.

        Args:
            kept: jobs that are over and remembered; the oldest go first.
        """
        self._root = root
        self._kept = kept

    def folder(self, job_id: str) -> Path:
        return self._root / job_id

    def write(self, job: Job) -> None:
        """Write the record down; of a job that is over, remove what it needed to run."""
        folder = self.folder(job.id)
        write_text(folder / RECORD, job.model_dump_json(indent=2) + "\n")
        if job.is_over:
            for path in folder.iterdir():
                if path.name not in _KEPT_IN_FOLDER:
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def read(self) -> list[Job]:
        """List all jobs, oldest first; one that was under way when we ended has failed."""
        found = [job for path in self._root.glob(f"*/{RECORD}") if (job := _record(path))]
        for number, job in enumerate(found):
            if not job.is_over:
                found[number] = interrupted(job)
                self.write(found[number])
        return sorted(found, key=lambda job: job.id)

    def forget_oldest(self, jobs: dict[str, Job]) -> None:
        """Remove the oldest of the jobs that are over, from here and from the disk."""
        over = [job_id for job_id, job in jobs.items() if job.is_over]
        for job_id in over[: max(0, len(over) - self._kept)]:
            del jobs[job_id]
            shutil.rmtree(self.folder(job_id), ignore_errors=True)


def interrupted(job: Job) -> Job:
    error = JobError(code="interrupted", detail="the gateway ended while this was under way")
    changes = {"state": JobState.FAILED, "finished_at": now(), "error": error}
    return job.model_copy(update=changes)


def _record(path: Path) -> Job | None:
    try:
        return Job.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        log.warning("the record of job %s cannot be read", path.parent.name)
        return None
