"""Rolling origins: where a backtest cuts, what each window forecasts, and what then came."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecast.core.errors import InvalidRequest
from forecast.core.frequency import Timestamps
from forecast.core.types import FloatArray, Series
from forecast.jobs.plans import BacktestPlan


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One series in one window.

    Attributes:
        past: the series cut at the origin; covariates known ahead reach over the horizon.
        actual: [C, H], what came after; NaN is missing.
        timestamps: [H] of the actual, or None where time is not known.
    """

    past: Series
    actual: FloatArray
    timestamps: Timestamps | None


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One origin, and the series that can be forecast from it.

    Attributes:
        number: from 1, the oldest.
        origin: time of the last step known; None where time is not known.
        known: the moment at which it was known: its period was over.
        first: time of the first step that is forecast.
        steps_left: steps of the longest series after the origin.
    """

    number: int
    origin: np.datetime64 | None
    known: np.datetime64 | None
    first: np.datetime64 | None
    steps_left: int
    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        """The origin in words: its time, or how far it is from the end."""
        if self.origin is None:
            return f"{self.steps_left} steps before the end"
        text = str(self.origin.astype("datetime64[s]"))
        return text.removesuffix("T00:00:00")


def windows_of(
    series: Sequence[Series], plan: BacktestPlan, *, min_context: int = 1
) -> tuple[Window, ...]:
    """Lay the windows, oldest first; the last leaves exactly one horizon.

    Origins are moments in time, the same for all series, counted back from the end of the one
    that ends last; where no series has times, they are counted from the end of each. A series
    takes part in a window if it has `min_context` observed values before the origin, and all
    steps of the horizon after it.

    Raises:
        InvalidRequest: some series have times and others none, or the series are too short for
            so many windows; says how many there can be.
    """
    longest = _reference(series)
    _check_room(longest, plan)
    windows = []
    for number in range(1, plan.windows + 1):
        left = plan.horizon + (plan.windows - number) * plan.step
        windows.append(_window(series, longest, number, left, (plan.horizon, min_context)))
    if not any(window.parts for window in windows):
        raise InvalidRequest("no window has anything to forecast and to compare with")
    return tuple(windows)


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


def _window(
    series: Sequence[Series], longest: Series, number: int, left: int, needs: tuple[int, int]
) -> Window:
    times, known_from = longest.past_timestamps, longest.known_from
    kept = longest.length - left
    known = None if known_from is None else known_from[kept - 1]
    origin, first = (None, None) if times is None else (times[kept - 1], times[kept])
    found = [_part(one, left, known, needs) for one in series]
    parts = tuple(part for part in found if part is not None)
    return Window(number, origin, known, first, left, parts)


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
