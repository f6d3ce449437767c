"""A store, fits in real child processes, and a context that remembers steps as a worker does."""

import json
import math
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from forecast.core.frequency import Frequency
from forecast.core.types import Series
from forecast.jobs.context import JobContext
from forecast.jobs.plans import JobPlan
from forecast.jobs.records import JobProgress
from forecast.models import MODEL_REGISTRY
from forecast.store.config import StoreConfig
from forecast.store.hub_settings import HubSettings
from forecast.store.sources import SourceResolver
from forecast.store.versions import ModelStore
from forecast.training.child import ModelProcess
from forecast.training.fit import Fit
from forecast.training.plan import BacktestPlan, FitPlan, TrainingPlan
from forecast.training.trainer import Trainer

ENVIRONMENT = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
LSTM = {
    "device": "cpu", "context_length": 12, "horizon": 4, "segment_length": 4, "hidden_dim": 8,
    "max_epochs": None, "max_steps": 20,
}  # fmt: skip
PATCHTST = {
    "device": "cpu", "context_length": 12, "horizon": 4, "patch_length": 4, "patch_stride": 4,
    "hidden_dim": 8, "ffn_dim": 8, "num_layers": 1, "num_attention_heads": 2,
    "max_epochs": None, "max_steps": 10,
}  # fmt: skip


def weekly(years: int, *, start: str = "2016-01-01", name: str = "a", seed: int = 0) -> Series:
    """A random walk with a season, each Friday of so many years."""
    steps = math.ceil(years * 365.25 / 7)
    rng = np.random.default_rng(seed)
    walk = 50 + rng.normal(size=steps).cumsum() + 5 * np.sin(np.arange(steps) * 2 * np.pi / 52)
    freq = Frequency.parse("W-FRI")
    return Series(walk[None], item_id=name, start=np.datetime64(start, "s"), freq=freq)


def store_at(folder: Path, **policy: Any) -> ModelStore:
    return ModelStore(StoreConfig(root=folder / "models", **policy))


def trainer_at(folder: Path, store: ModelStore) -> Trainer:
    process = ModelProcess(Path(sys.executable), ENVIRONMENT, cancel_s=5.0, poll_s=0.05)
    return Trainer(store, sources_at(folder, store), lambda spec: process)


def fit_of(model_id: str, series: Sequence[Series], name: str = "current", **changes: Any) -> Fit:
    """Make a fit; what its plan has goes into the plan."""
    plan = {field: changes.pop(field) for field in FitPlan.model_fields if field in changes}
    return Fit(MODEL_REGISTRY[model_id], FitPlan(**plan), series, name, **changes)


def job_plan(plan: TrainingPlan | BacktestPlan, model_id: str = "lstm") -> JobPlan:
    return JobPlan(kind=plan.kind, model_id=model_id, work=plan.model_dump(mode="json"))


def sources_at(folder: Path, store: ModelStore) -> SourceResolver:
    return SourceResolver(
        local_roots=[store.config.root],
        cache=folder / "cache",
        hub=HubSettings(hf_endpoint=None, hf_token=None, hf_offline=True, hf_cache=None),
        mlflow_tracking_uri=None,
        store=store,
    )


class Killed(BaseException):
    """The worker is gone: nothing after this happens in it."""


@dataclass
class Steps:
    """What a worker keeps of a job: the JSON of each step that is over.

    Attributes:
        killed_after: the step whose result is lost, with the worker.
        done: names of the steps that were really done, in order.
    """

    kept: dict[str, str] = field(default_factory=dict)
    killed_after: str | None = None
    done: list[str] = field(default_factory=list)

    def __call__(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if name not in self.kept:
            found = work()
            self.done.append(name)
            if name == self.killed_after:
                self.killed_after = None
                raise Killed
            self.kept[name] = json.dumps(found)
        result: dict[str, Any] = json.loads(self.kept[name])
        return result


@dataclass
class Job:
    """A job of a test: its context, what it told, and what happens when it does."""

    context: JobContext
    steps: Steps
    told: list[JobProgress] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    when_told: Callable[[JobProgress], object] = lambda progress: None

    def hear(self, progress: JobProgress) -> None:
        self.told.append(progress)
        self.when_told(progress)

    def with_deadline(self, deadline: float) -> JobContext:
        return replace(self.context, deadline=deadline)


def job_at(folder: Path, job_id: str = "job-1") -> Job:
    steps, place = Steps(), folder / "jobs" / job_id
    place.mkdir(parents=True, exist_ok=True)
    context = JobContext(job_id, place, steps, lambda progress: None, lambda: False)
    job = Job(context, steps)
    job.context = replace(context, report=job.hear, should_stop=lambda: job.stop.is_set())
    return job
