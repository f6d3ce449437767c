"""Routes that a gateway has and a host has not: jobs, data sets and stored versions."""

from collections.abc import Mapping

from fastapi import APIRouter, FastAPI

from forecast.api.alias_routes import Versions, alias_router
from forecast.api.dataset_routes import dataset_router
from forecast.api.events import EventStreams
from forecast.api.job_routes import job_router
from forecast.api.training_routes import TrainingJobs, short_training_router, training_router
from forecast.api.version_routes import version_router
from forecast.serving.hosts import Host


def add_versions(
    routers: Mapping[str, APIRouter], hosts: Mapping[str, Host], versions: Versions
) -> None:
    """Give each model the routes of its stored versions and their aliases."""
    for model_id, host in hosts.items():
        routers[model_id].include_router(version_router(host.spec, versions.store))
        routers[model_id].include_router(alias_router(host.spec, versions))


def add_training(
    app: FastAPI,
    routers: Mapping[str, APIRouter],
    hosts: Mapping[str, Host],
    training: TrainingJobs,
    streams: EventStreams,
    prefix: str,
) -> None:
    """Add the routes of jobs and of what they learn from."""
    for model_id, host in hosts.items():
        routers[model_id].include_router(training_router(host.spec, training, prefix))
    specs = {model_id: host.spec for model_id, host in hosts.items()}
    app.include_router(short_training_router(specs, training, prefix))
    app.include_router(
        dataset_router(training.reader.datasets, training.reader.policy), prefix=prefix
    )
    app.include_router(job_router(training.jobs, streams), prefix=prefix)
