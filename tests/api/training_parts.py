"""The jobs of a gateway in a folder of the test, without a worker unless a test starts one."""

from pathlib import Path

from forecast.api.training_routes import TrainingJobs
from forecast.data.policy import DataPolicy
from forecast.jobs.jobs import Jobs
from forecast.jobs.limits import JobLimits
from forecast.training.datasets import Datasets
from forecast.training.requests import JobReader


def training_in(
    home: Path,
    max_datasets: int = 100,
    database_url: str | None = None,
    poll_s: float = 0.5,
    **limits: int,
) -> TrainingJobs:
    """Build what the routes that start and show jobs need; nothing is connected yet."""
    url = database_url or f"sqlite:///{home / 'jobs.db'}"
    jobs = Jobs(home / "jobs", url, JobLimits(**limits), poll_s=poll_s)
    policy = DataPolicy(data_roots=(home / "data",), max_datasets=max_datasets)
    return TrainingJobs(jobs, JobReader(policy, Datasets(home / "datasets", policy)))
