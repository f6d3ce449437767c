"""When the points of a series are: from a start and a frequency, or from timestamps."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from forecast.core.errors import InvalidRequest
from forecast.core.frequency import EARLIEST, LATEST, Frequency, Timestamps
from forecast.core.times import to_datetime64, to_utc
from forecast.core.types import CovariateArray
from forecast.data.validation import excerpt, member

_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = _EPOCH.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, eq=False)
class TimeAxis:
    """A regular grid of time, and which of its steps a caller has sent.

    Attributes:
        length: T steps of the grid.
        positions: [n] steps of the grid that were sent, increasing; None for all of them.
        is_utc: the caller's times had an offset.
    """

    length: int
    start: np.datetime64 | None = None
    freq: Frequency | None = None
    positions: np.ndarray[Any, np.dtype[np.int64]] | None = None
    is_utc: bool = False

    @property
    def missing(self) -> int:
        """Steps that were not sent."""
        return 0 if self.positions is None else self.length - len(self.positions)

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
    time, is_utc = read_time(start, member(pointer, "start"))
    fitted = fitted_frequency(frequency(freq, pointer), time, member(pointer, "start"))
    return TimeAxis(length, time, fitted, is_utc=is_utc)


def axis_from_times(
    times: Timestamps, freq: Frequency | None, pointer: str, *, is_utc: bool, most: int
) -> TimeAxis:
    """Lay the axis of timestamps [n], which may have gaps; `pointer` points at them.

    Args:
        most: the most steps that the grid may have.

    Raises:
        InvalidRequest: they do not increase, follow no regular step or have too many gaps.
    """
    falling = np.flatnonzero(np.diff(times).astype(np.int64) <= 0)
    if falling.size:
        raise InvalidRequest.field(
            member(pointer, int(falling[0]) + 1),
            f"timestamps must increase: {times[falling[0] + 1]} follows {times[falling[0]]}",
        )
    freq = fitted_frequency(freq or _inferred(times, pointer), times[0], pointer)
    positions = freq.position(times[0], times)
    if (positions < 0).any():
        off = int((positions < 0).argmax())
        raise InvalidRequest.field(
            member(pointer, off),
            f"{times[off]} is not on the grid of freq {freq.alias} from {times[0]} on",
        )
    length = int(positions[-1]) + 1
    if length > most:
        raise InvalidRequest.field(
            pointer, f"with freq {freq.alias} they span {length} steps; at most {most} are allowed"
        )
    gaps = positions if length > len(times) else None
    return TimeAxis(length, times[0], freq, gaps, is_utc)


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


def fitted_frequency(freq: Frequency, start: np.datetime64, pointer: str) -> Frequency:
    """Fit a frequency to the first timestamp; `pointer` points at that."""
    try:
        return freq.at(start)
    except InvalidRequest as error:
        raise InvalidRequest.field(pointer, error.detail) from error


def _inferred(times: Timestamps, pointer: str) -> Frequency:
    try:
        return Frequency.infer(times)
    except InvalidRequest as error:
        raise InvalidRequest.field(pointer, error.detail) from error


def read_time(value: Any, pointer: str) -> tuple[np.datetime64, bool]:
    """Read one ISO 8601 time: datetime64[s], in UTC where it has an offset, and whether it has.

    Raises:
        InvalidRequest: not a time, with parts of a second, or outside the years 1678 to 2261.
    """
    time = _datetime(value, pointer)
    read = to_datetime64(time)
    if time.microsecond or not EARLIEST <= read < LATEST:
        raise InvalidRequest.field(
            pointer, f"{excerpt(value)} must be a whole second in the years 1678 to 2261"
        )
    return read, time.tzinfo is not None


def read_times(values: Any, pointer: str) -> tuple[Timestamps, bool]:
    """Read a list of ISO 8601 times: datetime64[s] [n], and whether they have an offset.

    Raises:
        InvalidRequest: one is not a time, or only some have an offset.
    """
    if type(values) is not list or not values:
        raise InvalidRequest.field(pointer, "must be a list of ISO 8601 timestamps")
    try:
        times = [datetime.fromisoformat(value) for value in values]
    except (TypeError, ValueError):
        times = [_datetime(value, member(pointer, index)) for index, value in enumerate(values)]
    aware = {time.tzinfo is not None for time in times}
    if len(aware) > 1:
        raise InvalidRequest.field(pointer, "some timestamps have a UTC offset and some have none")
    since = (
        [to_utc(time) - _EPOCH_UTC for time in times]
        if True in aware
        else [time - _EPOCH for time in times]
    )
    read = np.array([gap.days * 86_400 + gap.seconds for gap in since]).astype("datetime64[s]")
    bad = (read < EARLIEST) | (read >= LATEST) | [gap.microseconds != 0 for gap in since]
    if bad.any():
        raise InvalidRequest.field(
            member(pointer, int(bad.argmax())), "must be a whole second in the years 1678 to 2261"
        )
    return read, True in aware


def _datetime(value: Any, pointer: str) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise InvalidRequest.field(
            pointer, f"{excerpt(value)} is not an ISO 8601 time such as 2026-01-31T06:00:00"
        ) from error
