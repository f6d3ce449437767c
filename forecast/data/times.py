"""Times that callers send, as JSON or in columns → LocalTimes."""

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from types import NoneType
from typing import Any

import numpy as np
import pandas as pd

from forecast.core.clock import LocalTimes
from forecast.core.errors import InvalidRequest
from forecast.core.frequency import EARLIEST, LATEST, Timestamps
from forecast.core.validation import excerpt, member

Refusal = Callable[[int, str], InvalidRequest]
"""Makes the error of one value, by its number and what is wrong with it."""

_EPOCH = datetime(1970, 1, 1)
_MONTH = re.compile(r"(\d{4})-(\d{2})|(\d{4})-?Q([1-4])|(\d{4})")
_SPACED_OFFSET = re.compile(r"(.*\d)\s+(?:UTC|GMT|([+-]\d\d:?\d\d))")
_YEARS = (1678, 2261)
_FIRST_DAY = 1_000_00_00
_LAST_DAY = 9_999_99_99
_FIRST_MILLISECOND = 10**11  # in seconds this is the year 5138
_FRACTIONS = ((10**17, "ns"), (10**14, "us"), (_FIRST_MILLISECOND, "ms"))  # each from 1973 on
_MISSING = "is missing; each row needs a time"
_TOO_LARGE = 2.0**63
_SENT_AS = "an ISO 8601 time such as 2026-01-31T06:00:00"


def read_times(values: Any, pointer: str) -> LocalTimes:
    """Read a list of times.

    Raises:
        InvalidRequest: one is not a time, or only some have an offset.
    """
    if type(values) is not list or not values:
        raise InvalidRequest.field(pointer, "must be a list of ISO 8601 timestamps")
    return times_of(
        values, lambda at, detail: InvalidRequest.field(member(pointer, at), detail), pointer
    )


def read_time(value: Any, pointer: str) -> tuple[np.datetime64, bool]:
    """Read one moment: datetime64[s], in UTC where it has an offset, and whether it has.

    A month or a year is none.
    """
    if type(value) is str and _MONTH.fullmatch(value):
        raise InvalidRequest.field(pointer, f"{excerpt(value)} is not {_SENT_AS}")
    read = read_local(value, pointer)
    return read.utc[0], read.offsets is not None


def read_local(value: Any, pointer: str) -> LocalTimes:
    """Read one time [1].

    Raises:
        InvalidRequest: not a time, with parts of a second, or outside the years 1678 to 2261.
    """
    return times_of([value], lambda _, detail: InvalidRequest.field(pointer, detail), pointer)


def times_of(values: list[Any], refusal: Refusal, pointer: str = "") -> LocalTimes:
    """Read times: ISO 8601 text, months, quarters and years, numbers that stand for times.

    Numbers of a list are all of one kind: years, days such as 20260131, or seconds,
    milliseconds, microseconds or nanoseconds since 1970.

    Raises:
        InvalidRequest: a value is missing or no time; names the first.
    """
    kinds = set(map(type, values))
    if NoneType in kinds:
        raise refusal(values.index(None), _MISSING)
    if kinds <= {int, float}:
        return _times_of_numbers(values, refusal)
    if kinds <= {str}:  # a panel has the same times again and again
        codes, distinct = pd.factorize(np.array(values, dtype=object))
        return _local(
            distinct.tolist(), lambda at, why: refusal(int((codes == at).argmax()), why), pointer
        )[codes]
    return _local(values, refusal, pointer)


def _local(values: list[Any], refusal: Refusal, pointer: str) -> LocalTimes:
    times = [time for value in values if (time := _time_of(value)) is not None]
    if len(times) < len(values):
        at = next(at for at, value in enumerate(values) if _time_of(value) is None)
        is_missing = values[at] == "" or values[at] is pd.NaT
        raise refusal(at, _MISSING if is_missing else f"{excerpt(values[at])} is not {_SENT_AS}")
    aware = {time.tzinfo is not None for time in times}
    if len(aware) > 1:
        some = "some timestamps have a UTC offset and some have none; write all alike"
        raise InvalidRequest.field(pointer, some) if pointer else refusal(0, some)
    gaps = [time.replace(tzinfo=None) - _EPOCH for time in times]
    wall = np.array([gap.days * 86_400 + gap.seconds for gap in gaps]).astype("datetime64[s]")
    offsets = None
    if True in aware:
        offsets = np.array([(time.utcoffset() or timedelta()).total_seconds() for time in times])
        offsets = offsets.astype(np.int64)
    local = LocalTimes(wall, offsets)
    if offsets is not None and (offsets % 60).any():
        local = local.in_utc()
    _check(local, np.array([gap.microseconds != 0 for gap in gaps]), refusal)
    return local


def _check(local: LocalTimes, has_fraction: "np.ndarray[Any, Any]", refusal: Refusal) -> None:
    bad = has_fraction | (local.utc < EARLIEST) | (local.utc >= LATEST)
    if bad.any():
        at = int(bad.argmax())
        part = " and a part of a second" if has_fraction[at] else ""
        raise refusal(
            at, f"{local.wall[at]}{part} must be a whole second in the years 1678 to 2261"
        )


def _time_of(value: Any) -> datetime | None:
    """Parse one value as a time; return None if it is not one."""
    if value is pd.NaT:
        return None
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if type(value) is not str:
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return _time_in_other_words(value)


def _time_in_other_words(text: str) -> datetime | None:
    """Read a month `2026-01`, a quarter `2026-Q1`, a year, or an offset after a blank."""
    try:
        if found := _MONTH.fullmatch(text):
            year, month, of_quarter, quarter, alone = found.groups()
            first = int(month) if month else 3 * int(quarter or 1) - 2
            return datetime(int(year or of_quarter or alone), first, 1)
        if found := _SPACED_OFFSET.fullmatch(text):
            return datetime.fromisoformat(found[1] + (found[2] or "Z"))
    except ValueError:
        pass
    return None


def _times_of_numbers(values: list[Any], refusal: Refusal) -> LocalTimes:
    numbers = np.array(values, dtype=np.float64)
    whole = (np.abs(numbers) < _TOO_LARGE) & (numbers == np.floor(numbers))
    if not whole.all():
        at = int((~whole).argmax())
        raise refusal(at, f"{excerpt(values[at])} is not {_SENT_AS}")
    largest = np.abs(numbers).max()
    if unit := next((unit for first, unit in _FRACTIONS if largest >= first), None):
        counted = np.array(values, dtype=np.int64).astype(f"datetime64[{unit}]")
        local = LocalTimes(counted.astype("datetime64[s]"))
        _check(local, counted != local.wall, refusal)
        return local
    if _YEARS[0] <= numbers.min() and largest <= _YEARS[1]:
        return LocalTimes((numbers.astype(np.int64) - 1970).astype("datetime64[Y]").astype("M8[s]"))
    if numbers.min() >= _FIRST_DAY and largest <= _LAST_DAY:
        return times_of([str(int(number)) for number in numbers], refusal)
    if largest > _LAST_DAY:
        local = LocalTimes(numbers.astype(np.int64).astype("datetime64[s]"))
        _check(local, np.zeros(len(numbers), dtype=bool), refusal)
        return local
    raise refusal(0, f"{excerpt(values[0])} is not {_SENT_AS}, nor a year such as 1991-01-01")


def times_of_column(column: "pd.Series[Any]", values: list[Any], refusal: Refusal) -> LocalTimes:
    """Read a column of times; `values` are those of the column, missing ones None."""
    if column.dtype.kind != "M":
        return times_of(values, refusal)
    zone = getattr(column.dtype, "tz", None)
    naive = column if zone is None else column.dt.tz_localize(None)
    wall = naive.to_numpy()
    if np.isnat(wall).any():
        raise refusal(int(np.isnat(wall).argmax()), _MISSING)
    seconds: Timestamps = wall.astype("datetime64[s]")
    offsets = None
    if zone is not None:
        utc = column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[s]")
        offsets = (seconds - utc).astype(np.int64)
    local = LocalTimes(seconds, offsets, None if zone is None else str(zone))
    _check(local, seconds != wall, refusal)
    return local
