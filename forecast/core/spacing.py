"""Which regular step explains timestamps: guessed, then tested against every one of them."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecast.core.calendar import (
    DayOfMonth,
    Positions,
    days_of,
    monthly,
    step_in_months,
    weekly,
)
from forecast.core.errors import InvalidRequest
from forecast.core.frequency import Frequency, Timestamps

_DAY = 86_400
_BUSINESS_WEEK = 5  # days; so many apart are weeks
_FEWEST_TO_INFER = 3
_MOST_GUESSED = 20  # items of a panel, the longest, whose own step is a candidate
_FARTHEST_IN_MONTH = 4  # days from the usual day of the month
_FARTHEST_IN_WEEK = 3  # days from the usual weekday
_MOST_LOOSE = 2  # steps for each timestamp, where timestamps may lie beside their steps
_IRREGULAR = (
    "timestamps follow no regular step; send freq, or fix the timestamps. Months and weeks dated on"
    " any day are read with freq ME (or MS) and W-SUN (or W-MON)"
)


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Timestamps on a regular grid.

    Attributes:
        freq: fitted to `start`.
        start: the step of the first timestamp.
        positions: [n] steps after `start`, increasing; -1 where a timestamp is off the grid.
        moved: the first timestamp that counts as the step beside it, if any.
    """

    freq: Frequency
    start: np.datetime64
    positions: Positions
    moved: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether each timestamp has a step of its own."""
        return bool((self.positions >= 0).all() and (np.diff(self.positions) > 0).all())

    @property
    def missing(self) -> int:
        """Steps between the first and the last timestamp that have none."""
        return int(self.positions[-1]) + 1 - len(self.positions)


def place(times: Timestamps, freq: Frequency) -> Placement:
    """Number the steps of increasing timestamps [n] at a frequency.

    Of weeks and months that are dated on odd days (holidays, last trading days) each counts as
    its own week or month, where most lie on the same day of it.

    Raises:
        InvalidRequest: the first is not a timestamp of this frequency.
    """
    try:
        fitted = freq.at(times[0])
    except InvalidRequest:
        beside = _beside(times, freq)
        if beside is None:
            raise
        return beside
    exact = Placement(fitted, times[0], fitted.position(times[0], times))
    if exact.is_whole:
        return exact
    return _beside(times, freq) or exact


def place_periods(times: Timestamps, freq: Frequency) -> Placement | None:
    """Take each timestamp as the month or week it lies in, whatever its day; None where two do.

    A week begins on the Monday of `W-MON`, and ends on the day that another alias names.
    """
    offset = freq.offset
    day = times.astype("datetime64[D]")
    if step := step_in_months(offset):
        numbers = times.astype("datetime64[M]").astype(np.int64)
        kind = offset.name.partition("-")[0]
        start = days_of(times[:1].astype("datetime64[M]"), kind[:-2] + "M" + kind[-1])[0]
        alias = monthly(kind, start)
    elif offset.name.startswith("W-"):
        step, weekdays = int(offset.n), (day.astype(np.int64) + 3) % 7
        moves = (offset.weekday - weekdays) % 7 if offset.weekday else -weekdays
        numbers = (day.astype(np.int64) + moves) // 7
        start, alias = times[0] + moves[0] * np.timedelta64(_DAY, "s"), offset.name
    else:
        return None
    passed = numbers - numbers[0]
    if (passed % step).any() or (np.diff(passed) <= 0).any():
        return None
    placed = Placement(Frequency.parse(f"{offset.n}{alias}"), start, passed // step)
    labels = placed.freq.timestamps(start, int(placed.positions[-1]) + 1)[placed.positions]
    return replace(placed, moved=int((labels != times).argmax()))


def infer(times: Timestamps) -> Frequency:
    """Find the frequency of increasing timestamps [n] that may have gaps.

    Raises:
        InvalidRequest: fewer than 3 timestamps, or no regular step explains all of them.
    """
    if len(times) < _FEWEST_TO_INFER:
        raise InvalidRequest("freq cannot be inferred from fewer than 3 timestamps; send freq")
    for alias in _guesses(times.astype("datetime64[s]")):
        freq = Frequency.parse(alias)
        if _explained(times, freq):
            return freq
    raise InvalidRequest(_IRREGULAR)


def infer_common(parts: Sequence[Timestamps]) -> Frequency:
    """Find the one frequency of all items of a panel; their order does not matter.

    Raises:
        InvalidRequest: no step explains the timestamps of every item.
    """
    longest = sorted(parts, key=lambda times: (-len(times), times[0], times[-1]))
    everything = np.unique(np.concatenate(list(parts)))
    found: dict[Frequency, int] = {}
    tried: set[Frequency] = set()
    for times in [everything, *longest[:_MOST_GUESSED]]:
        with suppress(InvalidRequest):
            freq = infer(times)
            missing = None if freq in tried else missing_steps(freq, parts)
            tried.add(freq)
            if missing is not None:
                found[freq] = missing
            if missing == 0:
                break
    if not found:
        infer(longest[0])  # says why, where not even one item is regular
        raise InvalidRequest("no one step explains the timestamps of all items; send freq")
    return min(found, key=found.__getitem__)


def missing_steps(freq: Frequency, parts: Sequence[Timestamps]) -> int | None:
    """Count the steps that the items miss; None where one of them is off the grid."""
    total = 0
    for times in parts:
        placed = _explained(times, freq)
        if placed is None:
            return None
        total += placed.missing
    return total


def _explained(times: Timestamps, freq: Frequency) -> Placement | None:
    try:
        placed = place(times, freq)
    except InvalidRequest:
        return None
    return placed if placed.is_whole else None


def _guesses(times: Timestamps) -> Iterator[str]:
    """List frequencies that may explain timestamps, those with the fewest gaps first."""
    steps = np.diff(times).astype(np.int64)
    smallest = int(steps.min())
    if smallest <= 0:
        return
    even = _even_alias(smallest, times[0])
    if smallest <= 7 * _DAY and (steps == smallest).all():
        yield even
        return
    index = pd.DatetimeIndex(times)
    if guessed := pd.infer_freq(index):
        yield guessed
    if smallest >= 28 * _DAY:
        yield from _monthly_guesses(index)
    elif smallest % _DAY == 0 and not (index.dayofweek >= 5).any():
        yield from _business_guesses(times, smallest)
    yield even
    if smallest > _FARTHEST_IN_WEEK * _DAY:
        yield from _loose_guesses(times)


def _business_guesses(times: Timestamps, smallest: int) -> Iterator[str]:
    """Every business day, or every so many of them if few are missing."""
    days = times.astype("datetime64[D]")
    apart = np.busday_count(days[:-1], days[1:])
    step = int(np.gcd.reduce(apart))
    if smallest == _DAY:
        yield "B"
    elif step > 1 and step % _BUSINESS_WEEK and apart.sum() < _MOST_LOOSE * len(apart) * step:
        yield f"{step}B"


def _monthly_guesses(index: pd.DatetimeIndex) -> Iterator[str]:
    if not (index.is_month_start.all() or index.is_month_end.all()):
        return
    end = "S" if index.is_month_start.all() else "E"
    for unit in "YQM":
        yield monthly(f"{unit}{end}", index.values[0])


def _loose_guesses(times: Timestamps) -> Iterator[str]:
    """Years, quarters, months and weeks, by how far apart their numbers are."""
    months = np.diff(times.astype("datetime64[M]").astype(np.int64))
    if (months > 0).all() and months.sum() < _MOST_LOOSE * len(months) * np.gcd.reduce(months):
        apart = int(np.gcd.reduce(months))
        unit, count = next((u, apart // n) for u, n in _LARGEST_FIRST if apart % n == 0)
        yield f"{count}{monthly(f'B{unit}E', times[0])}"
    days = times.astype("datetime64[D]").astype(np.int64)
    weeks = np.diff(np.round((days - days[0]) / 7).astype(np.int64))
    if (weeks > 0).all() and weeks.sum() < _MOST_LOOSE * len(weeks) * np.gcd.reduce(weeks):
        yield f"{np.gcd.reduce(weeks)}W"


_LARGEST_FIRST = (("Y", 12), ("Q", 3), ("M", 1))


def _even_alias(seconds: int, first: np.datetime64) -> str:
    """Write an even step in its largest unit."""
    if seconds == 7 * _DAY:
        return weekly(first)
    for unit, length in (("D", _DAY), ("h", 3600), ("min", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _beside(times: Timestamps, freq: Frequency) -> Placement | None:
    """Place timestamps in the weeks or months that they belong to; None where they do not."""
    day = times.astype("datetime64[D]")
    at = times - day
    if (at != at[0]).any():
        return None
    if months := step_in_months(freq.offset):
        return _in_months(times, freq, months)
    if freq.offset.name.startswith("W-"):
        return _in_weeks(times, int(freq.offset.n))
    return None


def _in_months(times: Timestamps, freq: Frequency, step: int) -> Placement | None:
    """Take each timestamp as the named day of its month, or else as the day that most have."""
    day = times.astype("datetime64[D]")
    within = (day - times.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64)
    kind = freq.offset.name.partition("-")[0]
    own = kind[:-2] + "M" + kind[-1]
    others: tuple[DayOfMonth, ...] = ("BME", "BMS", "ME", "MS", int(np.bincount(within).argmax()))
    tried = [_nearest(times, named) for named in others]
    most = sorted(range(len(others)), key=lambda which: -int((tried[which][1] == 0).sum()))
    for named in (own, *(others[which] for which in most)):
        months, off = _nearest(times, named)
        passed = months - months[0]
        is_end = named in ("ME", "BME")
        if not (passed % step).any() and _is_usual(off, passed, _FARTHEST_IN_MONTH, is_end):
            start = days_of(months[:1].astype("datetime64[M]"), named)[0] + (times[0] - day[0])
            kept = "MS" if isinstance(named, int) else named
            alias = f"{freq.offset.n}{monthly(kept.replace('M', kind[-2]), start)}"
            return Placement(Frequency.parse(alias), start, passed // step, _first_moved(off))
    return None


def _nearest(times: Timestamps, named: DayOfMonth) -> tuple[Positions, Positions]:
    """Number the month whose named day is the nearest, and count the days until that: [n] each."""
    own = times.astype("datetime64[M]")
    days = times.astype("datetime64[D]").astype("datetime64[s]")
    shifts = np.array([-1, 0, 1])
    labels = np.stack([days_of(own + shift, named) for shift in shifts])
    off = (labels - days).astype(np.int64) // _DAY
    best = np.abs(off).argmin(axis=0)
    return own.astype(np.int64) + shifts[best], np.take_along_axis(off, best[None], axis=0)[0]


def _in_weeks(times: Timestamps, step: int) -> Placement | None:
    """Find the weekday that most have, and take each as that day of the week around it."""
    days = times.astype("datetime64[D]").astype(np.int64)
    usual = int(np.bincount(days % 7).argmax())
    weeks = np.floor_divide(days - usual + _FARTHEST_IN_WEEK, 7)
    labels = weeks * 7 + usual
    off, passed = labels - days, weeks - weeks[0]
    is_end = (usual + 3) % 7 != 0  # a Monday begins its week
    if (passed % step).any() or not _is_usual(off, passed, _FARTHEST_IN_WEEK, is_end):
        return None
    start = times[0] + (labels[0] - days[0]) * np.timedelta64(_DAY, "s")
    return Placement(
        Frequency.parse(f"{step}{weekly(start)}"), start, passed // step, _first_moved(off)
    )


def _is_usual(off: Positions, passed: Positions, farthest: int, is_end: bool) -> bool:
    """Whether most timestamps have the usual place in their period, and each period has one.

    What is dated after the end of a period is not taken as part of it: it was not known then.
    """
    is_near: npt.NDArray[np.bool_] = np.abs(off) <= farthest
    if not is_near.all() or (is_end and (off < 0).any()):
        return False
    return bool(5 * (off == 0).sum() >= 3 * len(off) and (np.diff(passed) > 0).all())


def _first_moved(off: Positions) -> int | None:
    return int((off != 0).argmax()) if off.any() else None
