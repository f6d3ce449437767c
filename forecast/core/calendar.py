"""Grids of time whose steps are not equally long: business days, months, quarters, years."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecast.core.errors import InvalidRequest

Timestamps = npt.NDArray[np.datetime64]
Positions = npt.NDArray[np.int64]
DayOfMonth = Literal["MS", "ME", "BMS", "BME"] | int
"""First, last, first business or last business day of a month, or so many days after the first."""

_DAY = np.timedelta64(86_400, "s")
_UNITS = {"M": 1, "Q": 3, "Y": 12}  # in months
_PER_YEAR = {"S": 24, "M": 12, "Q": 4, "Y": 1}
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_OPEN_HOURS = 8  # of pandas' business hours, from 9 to 17


def calendar_timestamps(offset: Any, first: np.datetime64, steps: Positions) -> Timestamps:
    """Find the timestamps `steps` after `first` where steps are not equally long."""
    day = first.astype("datetime64[D]")
    if _counts_business_days(offset, first):
        days = np.busday_offset(day, steps * offset.n)
        times: Timestamps = days.astype("datetime64[s]") + (first - day)
        return times
    if months := step_in_months(offset):
        months_after = first.astype("datetime64[M]") + steps * months
        found: Timestamps = days_of(months_after, _day_counted(offset, first)) + (first - day)
        return found
    return _walked(offset, first, steps)


def days_of(months: Timestamps, day: DayOfMonth) -> Timestamps:
    """Name a day of each month [n]: datetime64[s]; the 31st is the last day of a shorter month."""
    first = months.astype("datetime64[D]")
    last = (months.astype("datetime64[M]") + 1).astype("datetime64[D]") - 1
    if day == "BMS":
        found = np.busday_offset(first, 0, roll="forward")
    elif day == "BME":
        found = np.busday_offset(last, 0, roll="backward")
    elif day == "ME":
        found = last
    else:
        found = first if day == "MS" else np.minimum(first + day, last)
    days: Timestamps = found.astype("datetime64[s]")
    return days


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
    if months := step_in_months(offset):
        passed = times.astype("datetime64[M]") - first.astype("datetime64[M]")
        return np.asarray(passed.astype(np.int64) // months, dtype=np.int64)
    return None


def _counts_business_days(offset: Any, first: np.datetime64) -> bool:
    return offset.name == "B" and bool(np.is_busday(first.astype("datetime64[D]")))


def step_in_months(offset: Any) -> int | None:
    """Count the months in a step of whole months, quarters or years; None for other steps."""
    kind = offset.name.partition("-")[0]
    unit = _UNITS.get(kind.removeprefix("B")[:1]) if kind[-1:] in ("S", "E") else None
    return int(offset.n) * unit if unit else None


def _day_counted(offset: Any, first: np.datetime64) -> DayOfMonth:
    """Tell which day of its month each step is: that of the alias, where the first step is one."""
    kind = offset.name.partition("-")[0]
    named: DayOfMonth = ("B" if kind[0] == "B" else "") + "M" + kind[-1]
    month = first.astype("datetime64[M]")
    day = first.astype("datetime64[D]")
    if days_of(month, named) == day.astype("datetime64[s]"):
        return named
    return int((day - month.astype("datetime64[D]")).astype(int))


def is_first_day(time: np.datetime64) -> bool:
    return bool(time.astype("datetime64[D]") == time.astype("datetime64[M]"))


def is_last_day(time: np.datetime64) -> bool:
    return is_first_day(time + _DAY)


def anchored(offset: Any, start: np.datetime64) -> str:
    """Name the weekday or month that a series counts from, which an alias may leave open.

    Months that begin on another day than the alias names are written as starts of months.
    """
    kind = offset.name.partition("-")[0]
    number = str(offset.n) if offset.n > 1 else ""
    if kind == "W":
        return f"{number}{weekly(start)}"
    if kind[:1] == "B" or step_in_months(offset) is None:
        return str(offset.freqstr)
    if not (kind[-1] == "E" and is_last_day(start)):
        kind = f"{kind[0]}S"
    return number + monthly(kind, start)


def weekly(start: np.datetime64) -> str:
    return f"W-{_WEEKDAYS[pd.Timestamp(start).weekday()]}"


def monthly(kind: str, start: np.datetime64) -> str:
    """Write `MS`, `BQE` or the like, with the month that quarters and years count from."""
    if "M" in kind:
        return kind
    return f"{kind}-{_MONTHS[int(start.astype('datetime64[M]').astype(int)) % 12]}"


def steps_per_season(kind: str) -> int:
    """Steps of one of pandas' calendars in its usual season."""
    if kind in {"bh", "cbh"}:
        return _OPEN_HOURS
    if kind in {"B", "C"}:
        return 5
    if kind in {"WOM", "LWOM"}:
        return 12
    if kind in {"RE", "REQ"}:
        return 4 if kind == "REQ" else 1
    return _PER_YEAR.get(kind.lstrip("CB")[:1], 1)
