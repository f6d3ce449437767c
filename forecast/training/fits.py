"""One fit: cut, split, trained in a child process, and published in the store."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from forecast.core.atomic import discard, try_acquire_lock
from forecast.core.errors import DeadlinePassed, LooksAhead
from forecast.core.state import Comparison
from forecast.core.times import to_utc
from forecast.jobs.context import JobContext, Stopped, WorkFailed
from forecast.jobs.records import JobProgress, WindowResult
from forecast.jobs.series_files import write_series
from forecast.models.base.saved import TrainingRecord
from forecast.models.spec import ModelSpec
from forecast.serving.provenance import training_record
from forecast.store.names import CURRENT, snapshot_name
from forecast.store.sources import SourceResolver
from forecast.store.versions import ModelShelf, ModelStore
from forecast.training.fit_requests import FitRequest, Prepared, named, prepared
from forecast.training.past_models import Fetches
from forecast.training.processes.call import ORDER
from forecast.training.processes.child_process import run_child
from forecast.training.processes.fitting import SERIES, Order, Rival
from forecast.training.processes.options import ProcessOptions
from forecast.training.publishing import Trained, found_there, published

_ASKS_EVERY_S = 0.5


class Fits:
    """Trains models for jobs; one worker may have several at work at a time.

    Attributes:
        store: where versions and snapshots are published.
        sources: of the weights to start from.
        process: how the process of a model is run.
        remote: where a snapshot may lie that the store lacks; None for nowhere.
    """

    def __init__(
        self,
        store: ModelStore,
        sources: SourceResolver,
        process: Callable[[ModelSpec], ProcessOptions],
        remote: Fetches | None = None,
    ) -> None:
        self.store = store
        self.sources = sources
        self.process = process
        self.remote = remote

    def fit(self, request: FitRequest, context: JobContext) -> WindowResult:
        """Train and publish, unless the store holds it already. Blocks.

        Doing it again, after whatever ended it, goes on from the last checkpoint.

        Raises:
            Stopped: the job is to be cancelled.
            WorkFailed, ForecastError: it cannot be done.
        """
        fit = prepared(request, self.sources)
        shelf = self.store.model(request.spec.model_id)
        run = fit.run(request.window)
        with _alone(shelf.checkpoints(run) / ".lock", context):
            self._fetch(request, shelf)
            if (there := found_there(request, fit, shelf, context)) is None:
                with (
                    self._start_held(request, shelf),
                    _rival(request, shelf) as rival,
                    shelf.new_draft() as draft,
                ):
                    order = self._order(request, fit, draft, shelf.checkpoints(run))
                    order = order.model_copy(update={"rival": rival})
                    trained = self._train(request, fit, context, order)
                    there = published(request, trained, shelf, context, draft)
            shelf.forget_checkpoints(run)
        return there

    def _fetch(self, request: FitRequest, shelf: ModelShelf) -> None:
        """Bring a snapshot here that somebody has trained already, if anybody has."""
        day = request.snapshot
        if self.remote is None or day is None or request.overwrite or shelf.snapshot(day):
            return
        self.remote.ensure_available(shelf.model_id, snapshot_name(day))

    def train(self, request: FitRequest, context: JobContext, target: Path) -> Trained:
        """Train into a folder that is there and empty; nothing is published or resumed.

        Raises:
            Stopped: the job is to be cancelled.
            WorkFailed, ForecastError: it cannot be done.
        """
        fit = prepared(request, self.sources)
        shelf = self.store.model(request.spec.model_id)
        with self._start_held(request, shelf):
            return self._train(request, fit, context, self._order(request, fit, target, None))

    def _order(
        self, request: FitRequest, fit: Prepared, target: Path, checkpoints: Path | None
    ) -> Order:
        kept = self.store.config.max_checkpoints
        return order_of(request, fit, target, checkpoints, kept)

    def _train(
        self, request: FitRequest, fit: Prepared, context: JobContext, order: Order
    ) -> Trained:
        """Run the child; what it may see is all that is written for it."""
        began = time.monotonic()
        with _work_folder(context, request.window) as folder:
            write_order(folder, fit, order)
            report = _Reports(request, context)
            report(JobProgress(phase="starting"))
            done = run_child(
                request.spec,
                folder,
                self.process(request.spec),
                context,
                report,
                request.processes if request.is_shared else None,
            )
        compared = done["comparison"]
        return Trained(
            metrics=done["metrics"],
            record=_checked_record(order.target, fit),
            prepared=fit,
            seconds=time.monotonic() - began,
            told=report.told,
            comparison=None if compared is None else Comparison.model_validate(compared),
            notes=(*fit.notes, *_without_validation(done["unvalidated"])),
        )

    @contextmanager
    def _start_held(self, request: FitRequest, shelf: ModelShelf) -> Iterator[None]:
        """Keep the version that a fit starts from, if it is one of the store, while it runs."""
        scheme, _, name = (request.source or "").partition(":")
        if scheme != "store":
            yield
            return
        hold = shelf.hold(shelf.get(name))
        try:
            yield
        finally:
            hold.release()


@contextmanager
def _rival(request: FitRequest, shelf: ModelShelf) -> Iterator[Rival | None]:
    """Name what a new version is compared with, and keep it in the store meanwhile."""
    current = shelf.aliases.get(CURRENT) if request.compare else None
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
        f" {named(items)}",
    )


def order_of(
    request: FitRequest, fit: Prepared, target: Path, checkpoints: Path | None, kept: int
) -> Order:
    """Say what a child is to do; nothing of the data is in it."""
    return Order(
        model_id=request.spec.model_id,
        config=_alone_unless_asked(request) | dict(request.config),
        weights=fit.weights.path.absolute() if fit.weights else None,
        target=target.absolute(),
        validation=request.validation,
        refit=request.refit,
        checkpoints=checkpoints.absolute() if checkpoints else None,
        kept_checkpoints=kept,
        data_reference=request.data_reference,
    )


def write_order(folder: Path, fit: Prepared, order: Order) -> None:
    """Write all that a child gets: an order, and series that were cut."""
    write_series(folder / SERIES, fit.series)
    (folder / ORDER).write_text(order.model_dump_json())


def _alone_unless_asked(request: FitRequest) -> dict[str, None]:
    """Keep a fit from being shared because the one that made its first weights was."""
    return {"distributed": None} if "distributed" in request.spec.config.model_fields else {}


class _Reports:
    """Tells how far a job is, from the reports of one of its fits.

    Attributes:
        told: last.
    """

    def __init__(self, request: FitRequest, context: JobContext) -> None:
        self._request = request
        self._context = context
        self._began = time.monotonic()
        self.told = JobProgress(phase="starting")

    def __call__(self, progress: JobProgress) -> None:
        request = self._request
        place = {
            "window": request.window,
            "window_number": request.number,
            "windows": request.windows,
            "eta_s": self._until_all(progress.eta_s),
        }
        self.told = progress.model_copy(update=place)
        self._context.report(self.told)

    def _until_all(self, eta_s: float | None) -> float | None:
        """Guess the end of the job: each window that is left takes as long as this one."""
        if eta_s is None:
            return None
        left = self._request.windows - self._request.number
        return eta_s + left * (time.monotonic() - self._began + eta_s)


def _checked_record(folder: Path, fit: Prepared) -> TrainingRecord:
    """Read what the child wrote about its training.

    Raises:
        WorkFailed: it wrote nothing, or has seen what it must not.
    """
    record = training_record(folder)
    if record is None:
        raise WorkFailed("internal_error", "the fit left no record of its training")
    if record.cutoff and fit.cutoff and to_utc(record.cutoff) > fit.cutoff:
        raise WorkFailed(
            LooksAhead.code, f"the fit has seen {record.cutoff}, after its cutoff {fit.cutoff}"
        )
    return record


@contextmanager
def _work_folder(context: JobContext, name: str) -> Iterator[Path]:
    """Give an empty folder of a job, and remove it in the end."""
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
        Stopped: the job is to be cancelled.
        WorkFailed: it has waited longer than it may.
    """
    while (handle := try_acquire_lock(lock)) is None:
        if context.should_stop():
            raise Stopped
        if context.is_late:
            raise WorkFailed(DeadlinePassed.code, "another job does the same fit, and is not over")
        time.sleep(_ASKS_EVERY_S)
    try:
        yield
    finally:
        os.close(handle)
