"""The worker, and what it does with each kind of job."""

from collections.abc import Mapping, Sequence
from functools import partial

from pydantic import SecretStr

from forecast.core import machine
from forecast.jobs.records import JobKind
from forecast.jobs.worker import Worker
from forecast.jobs.working import Kinds
from forecast.models.spec import ModelSpec
from forecast.settings import Settings
from forecast.store.sync import StoreSync
from forecast.training.backtest import run_backtest
from forecast.training.child import ModelProcess
from forecast.training.train import run_training
from forecast.training.trainer import Trainer
from forecast.wiring.shared import (
    child_environment,
    interpreter_of,
    operator_config,
    sources_of,
    store_of,
)
from forecast.wiring.sync import sync_of

_MEMORY_SHARE = 0.9


def worker_of(settings: Settings, environment: Mapping[str, str]) -> Worker:
    """Build a worker; nothing is connected or begun yet.

    Args:
        environment: of this process; the processes that learn get it too.

    Raises:
        ValueError: a setting is wrong; says which.
    """
    return Worker(
        settings.jobs_folder,
        settings.jobs_database,
        kinds_of(settings, environment),
        settings.jobs,
        name=settings.worker_id or "0",
    )


def kinds_of(settings: Settings, environment: Mapping[str, str]) -> Kinds:
    """Say what does each kind of job."""
    store = store_of(settings)
    sync = sync_of(settings, store)
    process = partial(_process, settings, _variables(settings, environment))
    is_copied = settings.storage_backend != "local"
    remote = sync if is_copied else None
    trainer = Trainer(store, sources_of(settings, store), process, remote)
    copies = partial(_copied, sync) if is_copied else None
    return {
        JobKind.TRAINING: partial(run_training, trainer=trainer, sync=copies),
        JobKind.BACKTEST: partial(run_backtest, trainer=trainer, remote=sync),
    }


def _variables(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    variables = child_environment(settings, environment)
    machine.set_library_variables(variables, settings.jobs.training_threads)
    return variables


def _process(settings: Settings, variables: Mapping[str, str], spec: ModelSpec) -> ModelProcess:
    secrets = operator_config(spec, settings)
    return ModelProcess(
        python=interpreter_of(spec, settings),
        environment=variables,
        operator_config={
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in secrets.items()
        },
        cancel_s=settings.jobs.training_cancel_s,
        memory_bytes=memory_bytes(settings),
    )


def memory_bytes(settings: Settings) -> int:
    """Divide the memory of this machine, or container, among the jobs that run at a time."""
    whole = int(machine.memory_bytes() * _MEMORY_SHARE)
    return settings.jobs.training_memory_bytes or whole // settings.jobs.training_jobs


def _copied(sync: StoreSync, model_id: str, names: Sequence[str]) -> list[str]:
    """Copy versions elsewhere, and say what could not be."""
    failed: dict[str, str] = {}
    for name in names:
        failed |= sync.upload(model_id, name).failed
    failed |= sync.push_aliases(model_id).failed
    return [f"{name} was not copied: {why}" for name, why in failed.items()]
