"""Forecasts of the past: the origins they start from, and the child process that makes them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from forecast.core.errors import InvalidRequest
from forecast.core.frequency import Timestamps
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.jobs.context import JobContext, ignore_progress
from forecast.jobs.series_files import forecasts_of, read_forecasts, write_series
from forecast.models.spec import ModelSpec
from forecast.training.child import ModelProcess, OnJobProgress, run_child
from forecast.training.plan import BacktestPlan, ForecastOrder, read_order, write_order

_IN_A_FILE = 2048  # series


@dataclass(frozen=True, slots=True)
class PastModel:
    """A model to forecast the past with, and how its process is run.

    Attributes:
        weights: its folder; None for a model without weights.
        config: overrides the configuration in the folder, such as `device`.
    """

    spec: ModelSpec
    process: ModelProcess
    weights: Path | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


def forecast_in_child(
    model: PastModel,
    series: Sequence[Series],
    task: ForecastTask,
    context: JobContext,
    *,
    folder: Path,
    on_progress: OnJobProgress = ignore_progress,
) -> list[Forecast]:
    """Forecast series, which hold nothing after their origins.

    The order and the forecasts stay in `folder`, for `stored_forecasts`.

    Raises:
        Stopped: the job is being cancelled.
        ForecastError: the model cannot be loaded, or cannot forecast a series.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for first in range(0, len(series), _IN_A_FILE):
        files.append(f"series-{first:08d}.json")
        write_series(folder / files[-1], series[first : first + _IN_A_FILE])
    order = ForecastOrder(
        model_id=model.spec.model_id,
        config=dict(model.config),
        weights=None if model.weights is None else model.weights.absolute(),
        files=tuple(files),
        horizon=task.horizon,
        quantile_levels=task.quantile_levels,
    )
    write_order(folder, order)
    run_child(model.spec, folder.absolute(), model.process, context, on_progress)
    return stored_forecasts(folder)


def stored_forecasts(folder: Path) -> list[Forecast]:
    """Read the forecasts that a child left, in the order of the series.

    Raises:
        OSError: they are gone.
    """
    order = read_order(folder)
    assert isinstance(order, ForecastOrder)
    return [one for file in order.files for one in read_forecasts(folder / forecasts_of(file))]


def context_outside_a_job(folder: Path, should_stop: Callable[[], bool]) -> JobContext:
    """Make the context of a process that belongs to no job; nothing is durable."""
    folder.mkdir(parents=True, exist_ok=True)
    return JobContext(
        job_id=folder.name,
        folder=folder,
        remember=lambda _, work: work(),
        report=ignore_progress,
        should_stop=should_stop,
    )


# Rolling origins


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One series at one origin.

    Attributes:
        past: the series cut at the origin; known covariates reach over the horizon.
        actual: [C, H], what came after; NaN is missing.
        timestamps: [H] of the actual, or None where time is not known.
    """

    past: Series
    actual: FloatArray
    timestamps: Timestamps | None


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Where forecasts start, and the series that can be forecast from there.

    Attributes:
        number: from 1, the oldest.
        time: of the last step known; None where time is not known.
        known: the moment at which that step was known: the end of its period.
        first: time of the first step that is forecast.
        steps_left: steps of the longest series after the origin.
    """

    number: int
    time: np.datetime64 | None
    known: np.datetime64 | None
    first: np.datetime64 | None
    steps_left: int
    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        """The time of the origin, or its distance from the end."""
        if self.time is None:
            return f"{self.steps_left} steps before the end"
        text = str(self.time.astype("datetime64[s]"))
        return text.removesuffix("T00:00:00")


def origins_of(
    series: Sequence[Series], plan: BacktestPlan, *, min_context: int = 1
) -> tuple[Origin, ...]:
    """List the origins, oldest first; the last leaves exactly one horizon.

    Origins are moments in time, the same for all series, counted back from the end of the one
    that ends last; where no series has times, they are counted from the end of each. A series
    takes part at an origin if it has `min_context` observed values before it, and all steps of
    the horizon after it.

    Raises:
        InvalidRequest: some series have times and others none, or the series are too short for
            so many origins; says how many there can be.
    """
    longest = _reference(series)
    _check_room(longest, plan)
    origins = []
    for number in range(1, plan.windows + 1):
        left = plan.horizon + (plan.windows - number) * plan.step
        origins.append(_origin(series, longest, number, left, (plan.horizon, min_context)))
    if not any(origin.parts for origin in origins):
        raise InvalidRequest("no window has anything to forecast and to compare with")
    return tuple(origins)


def _reference(series: Sequence[Series]) -> Series:
    """Find the series that ends last, or the longest where there are no times."""
    timed = [one.past_timestamps is not None for one in series]
    if not any(timed):
        return max(series, key=lambda one: one.length)
    if not all(timed):
        without = series[timed.index(False)].item_id
        raise InvalidRequest(
            f"{without!r} has no times, and other series have; send start and freq, or timestamps"
        )
    return max(series, key=_end)


def _end(series: Series) -> tuple[np.datetime64, int]:
    times = series.past_timestamps
    assert times is not None
    return times[-1], series.length


def _check_room(longest: Series, plan: BacktestPlan) -> None:
    needed = plan.horizon + (plan.windows - 1) * plan.step + 1
    if longest.length < needed:
        possible = max(0, (longest.length - 1 - plan.horizon) // plan.step + 1)
        raise InvalidRequest.field(
            "/windows",
            f"{plan.windows} windows {plan.step} steps apart with a horizon of {plan.horizon} need"
            f" {needed} steps; there are {longest.length}, enough for {possible} windows",
        )


def _origin(
    series: Sequence[Series], longest: Series, number: int, left: int, needs: tuple[int, int]
) -> Origin:
    times, known_from = longest.past_timestamps, longest.known_from
    kept = longest.length - left
    known = None if known_from is None else known_from[kept - 1]
    time, first = (None, None) if times is None else (times[kept - 1], times[kept])
    found = [_part(one, left, known, needs) for one in series]
    parts = tuple(part for part in found if part is not None)
    return Origin(number, time, known, first, left, parts)


def _part(
    series: Series, left: int, known: np.datetime64 | None, needs: tuple[int, int]
) -> Part | None:
    horizon, min_context = needs
    kept = series.length - left if known is None else series.steps_until(known)
    if kept < 1 or series.length - kept < horizon:
        return None
    observed = ~np.isnan(series.target[:, :kept])
    if observed.sum(axis=1).min() < max(1, min_context):
        return None
    times = series.past_timestamps
    return Part(
        past=series.until(kept, horizon),
        actual=series.target[:, kept : kept + horizon],
        timestamps=None if times is None else times[kept : kept + horizon],
    )
