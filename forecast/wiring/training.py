"""The jobs of a gateway: who takes them in, who works on them, and who hears of a new version."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from forecast.api.alias_routes import Versions
from forecast.api.health import ReadyCheck, check_of_jobs, check_of_store
from forecast.api.training_routes import TrainingJobs
from forecast.jobs.jobs import Jobs
from forecast.jobs.supervisor import WorkersOptions, WorkerSupervisor
from forecast.settings import Settings
from forecast.training.data import default_data
from forecast.training.datasets import Datasets
from forecast.training.requests import JobReader
from forecast.wiring.shared import child_environment, data_policy, store_of
from forecast.wiring.sync import sync_of


@dataclass(frozen=True, slots=True)
class TrainingParts:
    """What a gateway has besides its hosts.

    Attributes:
        checks: what must be ready before work is sent here.
    """

    training: TrainingJobs
    versions: Versions
    checks: Mapping[str, ReadyCheck]
    workers: WorkerSupervisor

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start them; in the end, close them."""
        await self.training.jobs.start()
        try:
            await self.workers.start()
            yield
        finally:
            await self.workers.close()
            await self.training.jobs.close()


def training_parts(settings: Settings, environment: Mapping[str, str]) -> TrainingParts:
    """Build them; nothing is read or begun yet.

    Raises:
        ValueError: a setting is wrong; says which.
    """
    store = store_of(settings)
    sync = sync_of(settings, store)
    jobs = Jobs(settings.jobs_folder, settings.jobs_database, settings.jobs)
    policy = data_policy(settings)
    datasets = Datasets(settings.datasets_folder, policy)
    default = default_data(settings.default_dataset, settings.default_dataset_schema)
    reader = JobReader(policy, datasets, settings.accept_licenses, default)
    checks = {
        "store": check_of_store(store.config.root),
        "jobs": check_of_jobs(jobs, needs_worker=settings.jobs.workers > 0),
    }
    return TrainingParts(
        training=TrainingJobs(jobs, reader),
        versions=Versions(store, sync.push_aliases),
        checks=checks,
        workers=WorkerSupervisor(_workers_options(settings, environment)),
    )


def _workers_options(settings: Settings, environment: Mapping[str, str]) -> WorkersOptions:
    return WorkersOptions(
        command=(sys.executable, "-m", "forecast.worker", "--exit-with-parent"),
        count=settings.jobs.workers,
        name=settings.worker_id or f"gateway-{settings.port}",
        environment=child_environment(settings, environment),
        stop_s=settings.serving.shutdown_s,
    )
