"""A training job: the current model, then every missing past year, each fit a durable step."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any, Literal

from forecast.core.errors import ForecastError, InvalidRequest
from forecast.core.times import day_end, year_of
from forecast.core.types import Series
from forecast.jobs.context import JobContext, Stopped
from forecast.jobs.log_file import JobLog
from forecast.jobs.plans import JobPlan, read_plan_series
from forecast.jobs.records import FitResult, JobError, JobOutcome, JobProgress
from forecast.models import MODEL_REGISTRY
from forecast.models.spec import ModelSpec
from forecast.store.names import CURRENT
from forecast.training.fit import Fit
from forecast.training.plan import Snapshots, TrainingPlan
from forecast.training.publish import promote
from forecast.training.trainer import Trainer

MOST_SNAPSHOTS = 200

Sync = Callable[[str, Sequence[str]], Sequence[str]]
"""`sync(model_id, names)`: copy versions to the remote; returns a line for each failure."""


def run_training(
    job: JobPlan, context: JobContext, trainer: Trainer, sync: Sync | None = None
) -> JobOutcome:
    """Carry out a training job; run again, it repeats nothing that is done.

    Args:
        sync: None for a store that has no remote. Its failure is a warning.
    """
    work = _TrainingRun(job, context, trainer)
    try:
        work.fit_all()
        work.promote()
        work.sync(sync)
        work.retain()
    except Stopped:
        return work.outcome("cancelled")
    except ForecastError as error:
        return work.outcome("failed", JobError.of(error))
    return work.outcome("succeeded")


def fits_of(spec: ModelSpec, plan: TrainingPlan, series: Sequence[Series]) -> list[Fit]:
    """List the fits of a plan: the current model, then the years, the earliest first.

    Raises:
        InvalidRequest: years are asked for, and the series have no times.
    """
    current = Fit(
        spec=spec,
        plan=plan,
        series=series,
        name=CURRENT,
        cutoff=day_end(plan.cutoff) if plan.cutoff else None,
        refit=plan.learns_all,
        compare=plan.promote == "if_better",
        processes=plan.processes,
    )
    snapshots = [
        replace(
            current,
            name=day.isoformat(),
            cutoff=day_end(day),
            snapshot=day,
            compare=False,
            overwrite=plan.snapshots is not None and plan.snapshots.overwrite,
        )
        for day in map(_last_day, years_of(series, plan.snapshots, plan.cutoff))
    ]
    fits = [current, *snapshots]
    return [replace(fit, number=number, fits=len(fits)) for number, fit in enumerate(fits, start=1)]


class _TrainingRun:
    """One run of a job, and its results so far."""

    def __init__(self, job: JobPlan, context: JobContext, trainer: Trainer) -> None:
        self._spec = MODEL_REGISTRY[job.model_id]
        self._plan = TrainingPlan.model_validate(job.work)
        self._context = context
        self._trainer = trainer
        self._shelf = trainer.store.model(job.model_id)
        self._fits: list[FitResult] = []
        self._messages: list[str] = []
        self._metrics: dict[str, float] = {}
        self._warnings = list(job.warnings)

    def fit_all(self) -> None:
        """Do each fit, or find its result in the store."""
        series = read_plan_series(self._context.folder)
        for fit in fits_of(self._spec, self._plan, series):
            done = self._context.step(f"fit {fit.name}", partial(self._fit, fit))
            result = FitResult.model_validate(done)
            self._context.record_fit(result)
            self._fits.append(result)
            if result.detail:
                self._warnings.append(f"{result.window}: {result.detail}")

    def promote(self) -> None:
        """Make the new version `current`, if the plan says so."""
        done = self._context.step("promote", self._promote)
        self._metrics |= done["metrics"]
        if done["message"]:
            self._messages.append(done["message"])

    def sync(self, sync: Sync | None) -> None:
        """Copy the new versions to the remote."""
        if sync is None:
            return
        self._context.report(JobProgress(phase="syncing"))
        self._warnings += self._context.step("sync", partial(self._sync, sync))["warnings"]

    def retain(self) -> None:
        """Remove versions that the policy of the store does not keep."""
        done = self._context.step("retain", lambda: {"removed": self._shelf.retain()})
        if done["removed"]:
            names = ", ".join(done["removed"])
            self._messages.append(f"removed by the policy of the store: {names}")

    def outcome(
        self,
        state: Literal["succeeded", "failed", "cancelled"],
        error: JobError | None = None,
    ) -> JobOutcome:
        first = self._fits[0] if self._fits else None
        return JobOutcome(
            state=state,
            windows=tuple(self._fits),
            metrics=(first.metrics if first else {}) | self._metrics,
            version=first.version if first else None,
            message=self._message() if state == "succeeded" else None,
            error=error,
            warnings=tuple(self._warnings),
        )

    def _fit(self, fit: Fit) -> dict[str, Any]:
        result = self._trainer.fit(fit, self._context)
        JobLog(self._context.log).line(f"{result.window} {result.state}: {result.version}")
        return result.model_dump(mode="json")

    def _promote(self) -> dict[str, Any]:
        config, job_id = self._trainer.store.config, self._context.job_id
        found = promote(self._plan, self._fits[0].version, self._shelf, config, job_id)
        return {"message": found.message, "metrics": dict(found.metrics)}

    def _sync(self, sync: Sync) -> dict[str, Any]:
        names = [fit.version for fit in self._fits]
        try:
            return {"warnings": list(sync(self._spec.model_id, names))}
        except ForecastError as error:
            return {"warnings": [f"not synced: {error.detail}"]}

    def _message(self) -> str:
        trained = [fit.window for fit in self._fits if fit.state == "trained"]
        skipped = [fit.window for fit in self._fits if fit.state == "skipped"]
        parts = [f"trained: {', '.join(trained)}"] if trained else []
        if skipped:
            parts.append(f"there already: {', '.join(skipped)}")
        text = "; ".join([*parts, *self._messages])
        return text if trained else f"nothing to do: {text}"


# Which years get a snapshot


def years_of(
    series: Sequence[Series], snapshots: Snapshots | None, cutoff: date | None = None
) -> list[int]:
    """List the years that get a snapshot of their 31 December, the earliest first.

    The data covers a year to its end if the step after the last lies beyond it: weekly data that
    ends on Friday 27 December 2019 covers 2019.

    Args:
        cutoff: no snapshot is of a later day.

    Raises:
        InvalidRequest: the series have no times, the last year precedes the first, or there are
            too many years.
    """
    if snapshots is None or not snapshots.yearly:
        return []
    if snapshots.first and snapshots.last and snapshots.first > snapshots.last:
        raise InvalidRequest.field(
            "/snapshots/first", f"{snapshots.first} comes after the last, {snapshots.last}"
        )
    first_of_data, last = _bounds(series)
    first = first_of_data + snapshots.bootstrap_years - 1
    if cutoff is not None:
        last = min(last, cutoff.year if cutoff >= _last_day(cutoff.year) else cutoff.year - 1)
    if snapshots.first is not None:
        first = max(snapshots.first, first_of_data)
    if snapshots.last is not None:
        last = min(last, snapshots.last)
    years = [year for year in range(first, last + 1) if year not in snapshots.skip]
    if len(years) > MOST_SNAPSHOTS:
        raise InvalidRequest.field(
            "/snapshots",
            f"these are {len(years)} years; at most {MOST_SNAPSHOTS} a job, so name first and last",
        )
    return years


def _last_day(year: int) -> date:
    return date(year, 12, 31)


def _bounds(series: Sequence[Series]) -> tuple[int, int]:
    """Return the first year of the data, and the last that it covers to its end."""
    starts, nexts = [], []
    for one in series:
        times = one.past_timestamps
        following = one.future_timestamps(1)
        if times is None or following is None:
            raise InvalidRequest(
                f"{one.item_id!r} has no times, so there are no years to train for;"
                " send start and freq, or timestamps, or leave snapshots out"
            )
        starts.append(year_of(times[0]))
        nexts.append(year_of(following[0]))
    return min(starts), max(nexts) - 1
