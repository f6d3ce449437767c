"""Grids of time whose steps are not equally long: business days, months, quarters, years."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecast.core.errors import InvalidRequest

Timestamps = npt.NDArray[np.datetime64]
Positions = npt.NDArray[np.int64]

_DAY = np.timedelta64(86_400, "s")
_MONTH_STARTS = {"MS": 1, "QS": 3, "YS": 12}  # in months: numpy counts them
_MONTH_ENDS = {"ME": 1, "QE": 3, "YE": 12}
_PER_YEAR = {"S": 24, "M": 12, "Q": 4, "Y": 1}
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def calendar_timestamps(offset: Any, first: np.datetime64, steps: Positions) -> Timestamps:
    """Find the timestamps `steps` after `first` where steps are not equally long."""
    if _counts_business_days(offset, first):
        day = first.astype("datetime64[D]")
        days = np.busday_offset(day, steps * offset.n)
        times: Timestamps = days.astype("datetime64[s]") + (first - day)
        return times
    if months := _months(offset, first):
        month = first.astype("datetime64[M]")
        ends = 0 if _is_first_day(first) else 1
        starts: Timestamps = (month + (steps * months + ends)).astype("datetime64[s]")
        return starts - ends * _DAY
    return _walked(offset, first, steps)


def _walked(offset: Any, first: np.datetime64, steps: Positions) -> Timestamps:
    """Let pandas walk along a calendar; `steps` follow on each other."""
    if len(steps) == 0:
        return np.array([], dtype="datetime64[s]")
    try:
        begin = pd.Timestamp(first)
        begin = begin + int(steps[0]) * offset if steps[0] else begin
        index = pd.date_range(begin, periods=len(steps), freq=offset)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(
            f"timestamps from {first} on with freq {offset.freqstr} leave the years 1678 to 2261"
        ) from error
    return index.values.astype("datetime64[s]")


def walked_grid(
    offset: Any, first: np.datetime64, times: Timestamps, most: int
) -> pd.DatetimeIndex:
    """List the grid from `first` to the last of the times, at most `most` steps of it."""
    try:
        return pd.DatetimeIndex(calendar_timestamps(offset, first, np.arange(most)))
    except InvalidRequest:  # the calendar ends before so many steps: there are few to the last
        return pd.date_range(first, times.max(), freq=offset)


def steps_between(offset: Any, first: np.datetime64, times: Timestamps) -> Positions | None:
    """Count steps to times on the grid by arithmetic; None where it has to be walked."""
    if _counts_business_days(offset, first):
        days = np.busday_count(first.astype("datetime64[D]"), times.astype("datetime64[D]"))
        return np.asarray(days // offset.n, dtype=np.int64)
    if months := _months(offset, first):
        passed = times.astype("datetime64[M]") - first.astype("datetime64[M]")
        return np.asarray(passed.astype(np.int64) // months, dtype=np.int64)
    return None


def _counts_business_days(offset: Any, first: np.datetime64) -> bool:
    return offset.name == "B" and bool(np.is_busday(first.astype("datetime64[D]")))


def _months(offset: Any, first: np.datetime64) -> int | None:
    """Months in a step where numpy can count them from `first` on, else None."""
    if first != first.astype("datetime64[D]"):
        return None
    kind = offset.name.partition("-")[0]
    if _is_first_day(first):
        unit = _MONTH_STARTS.get(kind)
    else:
        unit = _MONTH_ENDS.get(kind) if _is_last_day(first) else None
    return int(offset.n) * unit if unit else None


def _is_first_day(time: np.datetime64) -> bool:
    return bool(time.astype("datetime64[D]") == time.astype("datetime64[M]"))


def _is_last_day(time: np.datetime64) -> bool:
    return _is_first_day(time + _DAY)


def anchored(offset: Any, start: np.datetime64) -> str:
    """Name the weekday or month that a series counts from, which an alias may leave open."""
    kind = offset.name.partition("-")[0]
    number = str(offset.n) if offset.n > 1 else ""
    if kind == "W":
        return f"{number}{weekly(start)}"
    if kind in _MONTH_ENDS and _is_first_day(start):
        kind = kind[0] + "S"
    elif not (_is_first_day(start) if kind in _MONTH_STARTS else _is_last_day(start)):
        return str(offset.freqstr)
    if kind in {"MS", "ME"}:
        return f"{number}{kind}"
    if kind in {"QS", "QE", "YS", "YE"}:
        return f"{number}{kind}-{month_name(start)}"
    return str(offset.freqstr)


def weekly(start: np.datetime64) -> str:
    return f"W-{_WEEKDAYS[pd.Timestamp(start).weekday()]}"


def month_name(start: np.datetime64) -> str:
    return _MONTHS[int(start.astype("datetime64[M]").astype(int)) % 12]


def steps_per_season(kind: str) -> int:
    """Steps of one of pandas' calendars in its usual season."""
    if kind in {"B", "C"}:
        return 5
    if kind in {"WOM", "LWOM"}:
        return 12
    if kind in {"RE", "REQ"}:
        return 4 if kind == "REQ" else 1
    return _PER_YEAR.get(kind.lstrip("CB")[:1], 1)
