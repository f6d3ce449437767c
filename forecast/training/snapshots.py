"""A training job: the current model first, then every missing past year, each a durable step."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from forecast.core.errors import ForecastError
from forecast.core.times import day_end
from forecast.core.types import Series
from forecast.jobs.context import JobContext, Stopped, WorkFailed
from forecast.jobs.durable import once
from forecast.jobs.log_file import JobLog
from forecast.jobs.plans import TrainingPlan, read_plan_series
from forecast.jobs.records import JobError, JobOutcome, JobProgress, WindowResult
from forecast.models import MODEL_REGISTRY
from forecast.training.fit_requests import FitRequest
from forecast.training.fits import Fits
from forecast.training.promotion import promoted
from forecast.training.years import last_day, years_of

__all__ = ["Sync", "run_training", "windows_of", "years_of"]

CURRENT = "current"

Sync = Callable[[str, Sequence[str]], Sequence[str]]
"""`sync(model_id, names)`: bring versions to the remote; what went wrong, a line each."""


def run_training(
    plan: TrainingPlan, context: JobContext, fits: Fits, sync: Sync | None = None
) -> JobOutcome:
    """Do a training job; doing it again repeats nothing that is done.

    Args:
        sync: None where the store is not synced with anything. Its failure is a warning.
    """
    work = _Training(plan, context, fits)
    try:
        work.fit_all()
        work.promote()
        work.sync(sync)
        work.retain()
    except Stopped:
        return work.outcome("cancelled")
    except WorkFailed as failed:
        return work.outcome("failed", failed.error)
    return work.outcome("succeeded")


def windows_of(plan: TrainingPlan, series: Sequence[Series]) -> list[FitRequest]:
    """List the fits of a plan: the current model, then the years, the earliest first.

    Raises:
        InvalidRequest: years are asked for, and the series have no times.
    """
    current = FitRequest(
        spec=MODEL_REGISTRY[plan.model_id],
        config=plan.config,
        series=series,
        window=CURRENT,
        cutoff=day_end(plan.cutoff) if plan.cutoff else None,
        validation=plan.validation,
        refit=plan.refit,
        compare=plan.promote == "if_better",
        source=plan.source,
        strict=plan.strict,
        processes=plan.processes,
        data_reference=plan.data_reference,
    )
    days = [last_day(year) for year in years_of(series, plan.snapshots, plan.cutoff)]
    of_years = [
        replace(
            current,
            window=day.isoformat(),
            cutoff=day_end(day),
            snapshot=day,
            compare=False,
            overwrite=plan.snapshots is not None and plan.snapshots.overwrite,
        )
        for day in days
    ]
    found = [current, *of_years]
    return [
        replace(one, number=number, windows=len(found)) for number, one in enumerate(found, start=1)
    ]


class _Training:
    """One run of a job; what it has come to so far."""

    def __init__(self, plan: TrainingPlan, context: JobContext, fits: Fits) -> None:
        self._plan = plan
        self._context = context
        self._fits = fits
        self._log = JobLog(context.log)
        self._windows: list[WindowResult] = []
        self._messages: list[str] = []
        self._metrics: dict[str, float] = {}
        self._warnings = list(plan.warnings)

    def fit_all(self) -> None:
        """Train each window, or find that it is there."""
        for request in self._read():
            self._stop_if_asked()
            said = self._step(f"fit {request.window}", partial(self._fit, request))
            window = WindowResult.model_validate(said)
            self._windows.append(window)
            if window.detail:
                self._warnings.append(f"{window.window}: {window.detail}")

    def promote(self) -> None:
        """Let `current` mean the new version, if the plan says so."""
        self._stop_if_asked()
        said = self._step("promote", self._promote)
        self._metrics |= said["metrics"]
        if said["message"]:
            self._messages.append(said["message"])

    def sync(self, sync: Sync | None) -> None:
        """Bring what is new to the remote."""
        if sync is None:
            return
        self._context.report(JobProgress(phase="syncing"))
        names = [window.version for window in self._windows]
        self._warnings += self._step("sync", lambda: self._sync(sync, names))["warnings"]

    def retain(self) -> None:
        """Remove from the store what its policy does not keep."""
        shelf = self._fits.store.model(self._plan.model_id)
        removed = self._step("retain", lambda: {"removed": shelf.retain()})["removed"]
        if removed:
            self._messages.append(f"removed by the policy of the store: {', '.join(removed)}")

    def outcome(self, state: Any, error: JobError | None = None) -> JobOutcome:
        """Say how it ended."""
        first = self._windows[0] if self._windows else None
        return JobOutcome(
            state=state,
            windows=tuple(self._windows),
            metrics=(first.metrics if first else {}) | self._metrics,
            version=first.version if first else None,
            message=self._message(state),
            error=error,
            warnings=tuple(self._warnings),
        )

    # Steps

    def _step(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        return once(self._context, name, partial(self._logged, name, work))

    def _logged(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        self._log.line(f"begin: {name}")
        try:
            return work()
        except (ForecastError, WorkFailed) as error:
            self._log.line(f"{name} failed: {error}")
            raise

    def _fit(self, request: FitRequest) -> dict[str, Any]:
        window = self._fits.fit(request, self._context)
        self._log.line(f"{window.window} {window.state}: {window.version}")
        return window.model_dump(mode="json")

    def _promote(self) -> dict[str, Any]:
        new = self._windows[0].version
        found = promoted(self._plan, new, self._context, self._fits.store)
        return {"message": found.message, "metrics": dict(found.metrics)}

    def _sync(self, sync: Sync, names: Sequence[str]) -> dict[str, Any]:
        try:
            return {"warnings": list(sync(self._plan.model_id, names))}
        except ForecastError as error:
            return {"warnings": [f"not synced: {error.detail}"]}

    # Parts

    def _read(self) -> list[FitRequest]:
        try:
            return windows_of(self._plan, read_plan_series(self._context.folder))
        except ForecastError as error:
            raise WorkFailed.of(error) from error

    def _stop_if_asked(self) -> None:
        if self._context.should_stop():
            raise Stopped

    def _message(self, state: str) -> str | None:
        if state != "succeeded":
            return None
        trained = [window.window for window in self._windows if window.state == "trained"]
        skipped = [window.window for window in self._windows if window.state == "skipped"]
        parts = [f"trained: {', '.join(trained)}"] if trained else []
        if skipped:
            parts.append(f"there already: {', '.join(skipped)}")
        said = "; ".join([*parts, *self._messages])
        return said if trained else f"nothing to do: {said}"
