"""The jobs of a gateway in a folder of the test, without a worker unless a test starts one."""

from pathlib import Path

from forecast.api.training_routes import Training
from forecast.data.policy import DataPolicy
from forecast.jobs.jobs import Jobs, JobsOptions
from forecast.training.requests.datasets import Datasets


def training_in(home: Path, max_datasets: int = 100, **options: object) -> Training:
    """Build what the routes that start and show jobs need; nothing is connected yet."""
    chosen = {"folder": home / "jobs", "database_url": f"sqlite:///{home / 'jobs.db'}"} | options
    policy = DataPolicy(data_roots=(home / "data",), max_datasets=max_datasets)
    datasets = Datasets(home / "datasets", policy)
    return Training(Jobs(JobsOptions(**chosen)), policy, datasets)  # type: ignore[arg-type]
