"""Fits in child processes, and what they produce published in the store."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from forecast.core.atomic import discard, try_acquire_lock
from forecast.core.errors import DeadlinePassed, ForecastError, LooksAhead
from forecast.core.state import Comparison
from forecast.core.times import to_utc
from forecast.jobs.context import JobContext, Stopped
from forecast.jobs.records import FitResult, JobProgress
from forecast.jobs.series_files import write_series
from forecast.models.base.saved import TrainingRecord
from forecast.models.spec import ModelSpec
from forecast.serving.provenance import training_record
from forecast.store.names import CURRENT, snapshot_name
from forecast.store.sources import SourceResolver
from forecast.store.versions import ModelShelf, ModelStore, Version
from forecast.training.child import ModelProcess, run_child
from forecast.training.fit import Fit, PreparedFit, first_names, prepare
from forecast.training.plan import SERIES, FitOrder, Rival, write_order
from forecast.training.publish import Trained, find_existing_version, publish

_ASKS_EVERY_S = 0.5


class Fetches(Protocol):
    """Fetches versions into the store, as a `StoreSync` does."""

    def ensure_available(self, model_id: str, name: str) -> Version | None:
        """Find a version in the store, or fetch it; None where nobody has it."""


class Trainer:
    """Carries out the fits of jobs. Thread-safe.

    Attributes:
        store: where versions and snapshots are published.
        sources: of the weights to start from.
        process: returns how the process of a model is run.
        remote: fetches snapshots that the store lacks; None to do without.
    """

    def __init__(
        self,
        store: ModelStore,
        sources: SourceResolver,
        process: Callable[[ModelSpec], ModelProcess],
        remote: Fetches | None = None,
    ) -> None:
        self.store = store
        self.sources = sources
        self.process = process
        self.remote = remote

    def fit(self, fit: Fit, context: JobContext) -> FitResult:
        """Train and publish, unless the store holds the result already. Blocks.

        After an interruption, the same fit resumes from its last checkpoint.

        Raises:
            Stopped: the job is being cancelled.
            ForecastError: the fit cannot be done.
        """
        prepared = prepare(fit, self.sources)
        shelf = self.store.model(fit.spec.model_id)
        key = prepared.key(fit.name)
        with _alone(shelf.checkpoints(key) / ".lock", context):
            self._fetch(fit, shelf)
            result = find_existing_version(fit, prepared, shelf, context)
            if result is None:
                with (
                    self._start_held(fit, shelf),
                    _rival(fit, shelf) as rival,
                    shelf.new_draft() as draft,
                ):
                    order = self._order(fit, prepared, draft).model_copy(
                        update={"rival": rival, "checkpoints": shelf.checkpoints(key).absolute()}
                    )
                    trained = self._train(fit, prepared, context, order)
                    result = publish(fit, trained, shelf, context, draft)
            shelf.forget_checkpoints(key)
        return result

    def train(self, fit: Fit, context: JobContext, target: Path) -> Trained:
        """Train into an empty folder; nothing is published or resumed.

        Raises:
            Stopped: the job is being cancelled.
            ForecastError: the fit cannot be done.
        """
        prepared = prepare(fit, self.sources)
        with self._start_held(fit, self.store.model(fit.spec.model_id)):
            return self._train(fit, prepared, context, self._order(fit, prepared, target))

    def _fetch(self, fit: Fit, shelf: ModelShelf) -> None:
        """Fetch a snapshot that the store lacks and a remote may hold."""
        day = fit.snapshot
        if self.remote is None or day is None or fit.overwrite or shelf.snapshot(day):
            return
        self.remote.ensure_available(shelf.model_id, snapshot_name(day))

    def _order(self, fit: Fit, prepared: PreparedFit, target: Path) -> FitOrder:
        return FitOrder(
            model_id=fit.spec.model_id,
            plan=fit.plan,
            refit=fit.refit,
            weights=prepared.weights.path.absolute() if prepared.weights else None,
            target=target.absolute(),
            kept_checkpoints=self.store.config.max_checkpoints,
        )

    def _train(
        self, fit: Fit, prepared: PreparedFit, context: JobContext, order: FitOrder
    ) -> Trained:
        """Run the child; its folder holds only series that were cut."""
        began = time.monotonic()
        with _work_folder(context, fit.name) as folder:
            write_series(folder / SERIES, prepared.series)
            write_order(folder, order)
            report = _Reports(fit, context)
            report(JobProgress(phase="starting"))
            processes = fit.processes if fit.is_shared else None
            process = self.process(fit.spec)
            done = run_child(fit.spec, folder, process, context, report, processes)
        compared = done["comparison"]
        return Trained(
            metrics=done["metrics"],
            record=_checked_record(order.target, prepared),
            prepared=prepared,
            seconds=time.monotonic() - began,
            progress=report.last,
            comparison=None if compared is None else Comparison.model_validate(compared),
            notes=(*prepared.notes, *_without_validation(done["unvalidated"])),
        )

    @contextmanager
    def _start_held(self, fit: Fit, shelf: ModelShelf) -> Iterator[None]:
        """Keep the stored version that a fit starts from while it runs."""
        scheme, _, name = (fit.plan.source or "").partition(":")
        if scheme != "store":
            yield
            return
        hold = shelf.hold(shelf.get(name))
        try:
            yield
        finally:
            hold.release()


@contextmanager
def _rival(fit: Fit, shelf: ModelShelf) -> Iterator[Rival | None]:
    """Name the version to compare a new one with, and keep it in the store meanwhile."""
    current = shelf.aliases.get(CURRENT) if fit.compare else None
    if current is None or (seen := shelf.get(current).cutoff) is None:
        yield None
        return
    version = shelf.get(current)
    hold = shelf.hold(version)
    try:
        yield Rival(name=version.name, weights=version.path.absolute(), seen=seen)
    finally:
        hold.release()


def _without_validation(items: Sequence[str]) -> tuple[str, ...]:
    if not items:
        return ()
    return (
        "learned from whole, because they are too short to hold a horizon back for validation:"
        f" {first_names(items)}",
    )


class _Reports:
    """Turns the reports of a fit into reports of its job.

    Attributes:
        last: the last report.
    """

    def __init__(self, fit: Fit, context: JobContext) -> None:
        self._fit = fit
        self._context = context
        self._began = time.monotonic()
        self.last = JobProgress(phase="starting")

    def __call__(self, progress: JobProgress) -> None:
        place = {
            "window": self._fit.name,
            "window_number": self._fit.number,
            "windows": self._fit.fits,
            "eta_s": self._until_all(progress.eta_s),
        }
        self.last = progress.model_copy(update=place)
        self._context.report(self.last)

    def _until_all(self, eta_s: float | None) -> float | None:
        """Estimate the end of the job: each fit that is left takes as long as this one."""
        if eta_s is None:
            return None
        left = self._fit.fits - self._fit.number
        return eta_s + left * (time.monotonic() - self._began + eta_s)


def _checked_record(folder: Path, prepared: PreparedFit) -> TrainingRecord:
    """Read the child's record of its training.

    Raises:
        LooksAhead: it has seen data after the cutoff.
        ForecastError: it left no record.
    """
    record = training_record(folder)
    if record is None:
        raise ForecastError("the fit left no record of its training")
    if record.cutoff and prepared.cutoff and to_utc(record.cutoff) > prepared.cutoff:
        raise LooksAhead(f"the fit has seen {record.cutoff}, after its cutoff {prepared.cutoff}")
    return record


@contextmanager
def _work_folder(context: JobContext, name: str) -> Iterator[Path]:
    """Make an empty folder in that of the job, and remove it in the end."""
    folder = (context.work / name.replace(":", "-")).absolute()
    discard(folder)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        discard(folder)


@contextmanager
def _alone(lock: Path, context: JobContext) -> Iterator[None]:
    """Wait until no other job of this machine does the same fit.

    Raises:
        Stopped: the job is being cancelled.
        DeadlinePassed: the job has waited longer than it may take.
    """
    while (handle := try_acquire_lock(lock)) is None:
        if context.should_stop():
            raise Stopped
        if context.is_late:
            raise DeadlinePassed("another job does the same fit, and has not finished")
        time.sleep(_ASKS_EVERY_S)
    try:
        yield
    finally:
        os.close(handle)
