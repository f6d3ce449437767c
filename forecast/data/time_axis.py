"""When the points of a series are: from a start and a frequency, or from timestamps."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecast.core.calendar import Positions, step_in_months
from forecast.core.clock import LocalTimes
from forecast.core.errors import InvalidRequest
from forecast.core.frequency import Frequency
from forecast.core.spacing import (
    Placement,
    infer_common,
    missing_steps,
    place,
    place_periods,
)
from forecast.core.types import CovariateArray
from forecast.core.validation import member
from forecast.data.times import read_local


@dataclass(frozen=True, slots=True, eq=False)
class TimeAxis:
    """A regular grid of time, and which of its steps a caller has sent.

    Attributes:
        length: T steps of the grid.
        positions: [n] steps of the grid that were sent, increasing; None for all of them.
        ahead: [K] steps, after the last of the grid, of rows that are known ahead.
        clock: the clock that `start` is read from; see `Series.clock`.
        warnings: what else was done to the times.
    """

    length: int
    start: np.datetime64 | None = None
    freq: Frequency | None = None
    positions: Positions | None = None
    ahead: Positions | None = None
    clock: str | None = None
    warnings: tuple[str, ...] = ()

    def notes(self, what: str) -> list[str]:
        """Say what was done to the times of `what`: the warnings, and how many were missing."""
        missing = 0 if self.positions is None else self.length - len(self.positions)
        noun, verb = ("timestamp", "was") if missing == 1 else ("timestamps", "were")
        gaps = f"{missing} missing {noun} of {what} {verb} filled with missing values"
        return [*([gaps] if missing else ()), *(f"{what}: {text}" for text in self.warnings)]

    def spread(self, values: CovariateArray) -> CovariateArray:
        """Put [..., n] sent values in their steps [..., T]: NaN elsewhere, "" for categories."""
        if self.positions is None:
            return values
        blank: Any = "" if values.dtype.kind == "U" else np.nan
        spread = np.full((*values.shape[:-1], self.length), blank, dtype=values.dtype)
        spread[..., self.positions] = values
        return spread


def axis_from_start(start: Any, freq: Any, length: int, pointer: str) -> TimeAxis:
    """Lay the axis of a series that names its start and frequency, or neither.

    Raises:
        InvalidRequest: a start without a frequency, or one that is not on its grid.
    """
    if start is None:
        return TimeAxis(length, freq=None if freq is None else frequency(freq, pointer))
    if freq is None:
        raise InvalidRequest.field(member(pointer, "freq"), "send freq together with start")
    local = read_local(start, member(pointer, "start"))
    sent = frequency(freq, pointer)
    try:
        fitted = sent.at(local.wall[0])
    except InvalidRequest as error:
        raise InvalidRequest.field(member(pointer, "start"), error.detail) from error
    warnings = _replaced(freq, fitted, local.wall[0])
    return TimeAxis(length, local.wall[0], fitted, clock=local.clock, warnings=warnings)


def axis_from_times(
    times: LocalTimes, freq: str | Frequency, pointer: str, *, most: int, past: int | None = None
) -> TimeAxis:
    """Lay the axis of timestamps [n], which may have gaps; `pointer` points at them.

    Args:
        freq: as it was sent, or as it was inferred.
        most: the most steps that the grid may have.
        past: how many of the timestamps are of the past; the others are known ahead.

    Raises:
        InvalidRequest: they do not increase, are off the grid or have too many gaps.
    """
    check_increasing(times, pointer)
    known = Frequency.parse(freq) if isinstance(freq, str) else freq
    times = _clocked(times, known)
    try:
        placed = _placed(times, known, is_sent=isinstance(freq, str))
    except InvalidRequest as error:
        raise InvalidRequest.field(pointer, error.detail) from error
    _check_on_grid(times, placed, pointer)
    steps = placed.positions[:past]
    length = int(steps[-1]) + 1
    if length > most:
        raise InvalidRequest.field(
            pointer,
            f"with freq {placed.freq.alias} they span {length} steps; at most {most} are allowed",
        )
    sent = freq if isinstance(freq, str) else None
    return TimeAxis(
        length,
        placed.start,
        placed.freq,
        steps if length > len(steps) else None,
        placed.positions[len(steps) :],
        times.clock,
        (*_moved(times, placed), *_replaced(sent, placed.freq, placed.start)),
    )


def _clocked(times: LocalTimes, freq: Frequency) -> LocalTimes:
    """Choose the clock to count steps on: in UTC below a day where the sender's was shifted."""
    if freq.is_elapsed:
        return times.in_utc() if times.is_shifted else times
    local = times.at_midnight()
    if local is None:
        return times
    missing = missing_steps(freq, [times.wall])
    there = missing_steps(freq, [local.wall])
    return local if there is not None and (missing is None or there < missing) else times


def _placed(times: LocalTimes, freq: Frequency, *, is_sent: bool) -> Placement:
    """Place timestamps; at a frequency that was sent, months and weeks on any day of theirs."""
    try:
        placed = place(times.wall, freq)
    except InvalidRequest:
        periods = place_periods(times.wall, freq) if is_sent else None
        if periods is None:
            raise
        return periods
    if is_sent and not placed.is_whole:
        return place_periods(times.wall, freq) or placed
    return placed


def check_increasing(times: LocalTimes, pointer: str) -> None:
    """Refuse times that stand still or go back."""
    falling = np.flatnonzero(np.diff(times.utc).astype(np.int64) <= 0)
    if falling.size:
        at = int(falling[0]) + 1
        raise InvalidRequest.field(
            member(pointer, at),
            f"timestamps must increase: {times.wall[at]} follows {times.wall[at - 1]}"
            f"{_put_back(times, at)}",
        )


def _put_back(times: LocalTimes, at: int) -> str:
    """Say how to send hours that a clock shows twice, where that may be the reason."""
    back = int((times.wall[at - 1] - times.wall[at]).astype(np.int64))
    steps = np.diff(times.wall).astype(np.int64)
    if times.offsets is not None or not (0 <= back <= 3600 and (np.abs(steps) < 86_400).all()):
        return ""
    return "; where a clock was put back, send times with their UTC offset"


def _check_on_grid(times: LocalTimes, placed: Placement, pointer: str) -> None:
    if placed.is_whole:
        return
    off = int((placed.positions < 0).argmax())
    raise InvalidRequest.field(
        member(pointer, off),
        f"{times.wall[off]} is not on the grid of freq {placed.freq.alias} from {placed.start} on",
    )


def _moved(times: LocalTimes, placed: Placement) -> tuple[str, ...]:
    if placed.moved is None:
        return ()
    at = placed.moved
    step = placed.freq.timestamps(placed.start, 1, skip=int(placed.positions[at]))[0]
    return (
        f"timestamps beside the steps of freq {placed.freq.alias} count as the nearest step,"
        f" such as {_day(times.wall[at])} as {_day(step)}",
    )


def _replaced(sent: str | None, fitted: Frequency, start: np.datetime64) -> tuple[str, ...]:
    """Say that steps are counted from another weekday, month or day than was spelled out."""
    if sent is None:
        return ()
    names_another = "-" in sent and not Frequency.parse(sent).begins(start)
    is_odd_day = step_in_months(fitted.offset) and not fitted.begins(start)
    if not (names_another or is_odd_day):
        return ()
    return (
        f"freq {sent} has no step on {_day(start)}, where the series begins: its steps are counted"
        f" from there, as {fitted.alias}{' on that day of the month' if is_odd_day else ''}",
    )


def _day(time: np.datetime64) -> str:
    return str(time.astype("datetime64[D]"))


def inferred(parts: Sequence[LocalTimes], pointer: str) -> Frequency:
    """Find the one frequency of some series: of their clocks, or in UTC below a day.

    Raises:
        InvalidRequest: no regular step explains all of their times.
    """
    local = [midnight for times in parts if (midnight := times.at_midnight()) is not None]
    try:
        return _inferred(parts) if len(local) < len(parts) else _with_fewest_gaps([parts, local])
    except InvalidRequest as error:
        raise InvalidRequest.field(pointer, error.detail) from error


def _with_fewest_gaps(readings: Sequence[Sequence[LocalTimes]]) -> Frequency:
    """Choose between times as they were sent, the first, and as days of the sender's clock."""
    found: dict[Frequency, int] = {}
    for parts in readings:
        with suppress(InvalidRequest):
            freq = _inferred(parts)
            if parts is readings[0] or not freq.is_elapsed:
                missing = missing_steps(freq, [times.wall for times in parts])
                found.setdefault(freq, missing or 0)
    if not found:
        return _inferred(readings[0])  # says why not
    return min(found, key=found.__getitem__)


def _inferred(parts: Sequence[LocalTimes]) -> Frequency:
    if not any(times.is_shifted for times in parts):
        return infer_common([times.wall for times in parts])
    with suppress(InvalidRequest):
        freq = infer_common([times.wall for times in parts])
        if not freq.is_elapsed:
            return freq
    return infer_common([times.utc if times.is_shifted else times.wall for times in parts])


def check_horizon(axis: TimeAxis, horizon: int, pointer: str) -> None:
    """Refuse a horizon whose timestamps cannot be written."""
    if axis.start is None or axis.freq is None:
        return
    try:
        axis.freq.timestamps(axis.start, 1, skip=axis.length + horizon - 1)
    except InvalidRequest as error:
        raise InvalidRequest.field(pointer, error.detail) from error


def frequency(alias: Any, pointer: str) -> Frequency:
    """Read `freq`, a member of what `pointer` points at."""
    try:
        return Frequency.parse(alias)
    except InvalidRequest as error:
        raise InvalidRequest.field(member(pointer, "freq"), error.detail) from error
