"""How far apart the points of a series are: parsing, inference, season length, calendars."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from forecast.core.calendar import (
    Positions,
    anchored,
    calendar_timestamps,
    step_in_months,
    steps_between,
    steps_per_season,
    walked_grid,
)
from forecast.core.calendar import Timestamps as Timestamps  # part of this module's types too
from forecast.core.errors import InvalidRequest

EARLIEST = np.datetime64("1678-01-01T00:00:00")
LATEST = np.datetime64("2262-01-01T00:00:00")  # what libraries that count nanoseconds can hold

_SECONDS = {"s": 1, "min": 60, "h": 3600, "D": 86_400}
_DAY = 86_400
_LONGEST_STEP = 100 * 366 * _DAY
_MOST_MONTHS = 100 * 12
_OLD_ALIASES = {"H": "h", "T": "min", "S": "s", "M": "ME", "Q": "QE", "Y": "YE", "A": "YE"}
_LOWER_CASE = {"d": "D", "w": "W", "b": "B", "q": "QE", "y": "YE"}
_BUSINESS_HOURS = {"bh", "cbh"}
_PLAIN_MONTHS = {1, 2, 3, 4, 6}
_PLAIN_MINUTES = {5, 10, 15, 20, 30}
_MOST_GAPS = 4  # for each timestamp, on a grid that has to be walked


@dataclass(frozen=True, slots=True)
class Frequency:
    """A pandas offset alias, checked. Hashable and immutable.

    Attributes:
        alias: as pandas writes it today, e.g. `D`, `15min`, `MS`, `W-SUN`.
    """

    alias: str

    @classmethod
    def parse(cls, alias: str) -> "Frequency":
        """Read an alias, old spellings (`H`, `T`, `M`) included.

        Raises:
            InvalidRequest: pandas does not know it, it does not go forward, or its step is
                shorter than a second or longer than a century.
        """
        return _parse(alias)

    def at(self, start: np.datetime64) -> "Frequency":
        """Fit the frequency to the first timestamp of a series.

        Ends of months (`ME`, `QE`, `YE`) with a start on the first day of a month mean starts
        of months. On another day steps keep that day of the month, or the last of a month that
        is shorter. Quarters and years count from the month of the start.

        Raises:
            InvalidRequest: the start is not a timestamp of this frequency.
        """
        if _offset(self.alias).name in _SECONDS:
            return self
        fitted = anchored(_offset(self.alias), start)
        offset = _offset(fitted)
        keeps_its_day = step_in_months(offset) is not None and offset.name[:1] != "B"
        if not (keeps_its_day or offset.is_on_offset(pd.Timestamp(start))):
            following = offset.rollforward(pd.Timestamp(start))
            raise InvalidRequest(
                f"{start} is not a timestamp of freq {self.alias}; the next one is"
                f" {following.isoformat() if self.has_time else following.date()}"
            )
        return _parse(fitted)

    @property
    def offset(self) -> Any:
        """The offset of pandas that the alias names."""
        return _offset(self.alias)

    @property
    def season_length(self) -> int:
        """Steps in the usual season: a day below days, then a week, a year.

        Hyndman & Athanasopoulos, FPP3, 2.1; business days have 5, weeks 52.
        """
        seconds = _seconds(self.alias)
        if seconds and seconds % _DAY:
            return max(1, (_DAY if seconds >= 60 else 3600) // seconds)
        if seconds:
            days = seconds // _DAY
            return max(1, 52 * 7 // days if days % 7 == 0 else 7 // days)
        offset = _offset(self.alias)
        steps: int = steps_per_season(offset.name.partition("-")[0]) // offset.n
        return max(1, steps)

    @property
    def seasons(self) -> tuple[int, ...]:
        """Steps in its seasons, shortest first: the usual one, and the week below a day."""
        season = self.season_length
        if season > 1 and self.has_time:
            first, second = self.timestamps(np.datetime64("2000-01-01T00:00:00"), 2)
            if (second - first) * season == np.timedelta64(1, "D"):
                return season, 7 * season
        return (season,) if season > 1 else ()

    @property
    def has_time(self) -> bool:
        """Whether a timestamp of this frequency needs its time of day."""
        return self.is_elapsed or _offset(self.alias).name in _BUSINESS_HOURS

    @property
    def is_elapsed(self) -> bool:
        """Whether steps are a fixed time below a day, whatever a local clock shows."""
        seconds = _seconds(self.alias)
        return seconds is not None and seconds % _DAY != 0

    def begins(self, start: np.datetime64) -> bool:
        """Whether a time is a step of this very alias, with its weekday or month."""
        return bool(self.offset.is_on_offset(pd.Timestamp(start)))

    def timestamps(self, start: np.datetime64, count: int, *, skip: int = 0) -> Timestamps:
        """List `count` timestamps, `skip` steps after `start`: [count], datetime64[s].

        Raises:
            InvalidRequest: they leave the years that can be written.
        """
        first = start.astype("datetime64[s]")
        steps = np.arange(skip, skip + count)
        if seconds := _seconds(self.alias):
            listed: Timestamps = first + steps * np.timedelta64(seconds, "s")
        else:
            listed = calendar_timestamps(_offset(self.alias), first, steps)
        if count and not EARLIEST <= listed[0] <= listed[-1] < LATEST:
            raise InvalidRequest(
                f"timestamps from {first} on with freq {self.alias} leave the years 1678 to 2261"
            )
        return listed

    def position(self, start: np.datetime64, timestamps: Timestamps) -> Positions:
        """Number each timestamp [T] by its steps after `start`; -1 where it is off the grid.

        On calendars that have to be walked, what lies beyond five steps a timestamp counts as
        off the grid.
        """
        first, times = start.astype("datetime64[s]"), timestamps.astype("datetime64[s]")
        if seconds := _seconds(self.alias):
            steps, rest = np.divmod((times - first).astype(np.int64), seconds)
            return np.where((rest == 0) & (steps >= 0), steps, -1)
        steps = steps_between(_offset(self.alias), first, times)
        if steps is not None:
            listed = calendar_timestamps(_offset(self.alias), first, steps)
            return np.where((listed == times) & (steps >= 0), steps, -1)
        grid = walked_grid(_offset(self.alias), first, times, 1000 + (1 + _MOST_GAPS) * len(times))
        return np.asarray(grid.get_indexer(pd.DatetimeIndex(times)), dtype=np.int64)


@lru_cache(maxsize=1024)
def _parse(alias: str) -> Frequency:
    try:
        offset: Any = pd.tseries.frequencies.to_offset(_modern(alias))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InvalidRequest(
            f"freq {alias!r} is not a pandas offset alias such as D, h, MS"
        ) from error
    if offset is None or offset.n < 1:
        raise InvalidRequest(f"freq {alias!r} must go forward in time")
    if offset.name in {"ms", "us", "ns"}:
        raise InvalidRequest(f"freq {alias!r} is shorter than a second, the shortest step")
    longest = _LONGEST_STEP // _SECONDS[offset.name] if offset.name in _SECONDS else _MOST_MONTHS
    if offset.n > longest:
        raise InvalidRequest(f"freq {alias!r} is longer than a century, the longest step")
    return Frequency(offset.freqstr)


def _modern(alias: str) -> str:
    digits = alias[: len(alias) - len(alias.lstrip("0123456789"))]
    unit, dash, anchor = alias[len(digits) :].partition("-")
    _check_minutes(digits, unit)
    if unit == "m":
        return f"{digits}min"
    return digits + _OLD_ALIASES.get(unit, _LOWER_CASE.get(unit, unit)) + dash + anchor


def _check_minutes(digits: str, unit: str) -> None:
    """Refuse what may mean minutes or months."""
    count = int(digits or 1)
    is_odd = unit == "M" and count not in _PLAIN_MONTHS and count % 12
    if is_odd or (unit == "m" and count not in _PLAIN_MINUTES):
        raise InvalidRequest(
            f"freq {digits + unit!r} may mean minutes or months; send {digits}min for minutes,"
            f" {digits}MS or {digits}ME for starts or ends of months"
        )


@lru_cache(maxsize=1024)
def _offset(alias: str) -> Any:
    return pd.tseries.frequencies.to_offset(alias)


@lru_cache(maxsize=1024)
def _seconds(alias: str) -> int | None:
    """Length of a step where all steps are equally long, else None."""
    offset = _offset(alias)
    if isinstance(offset, pd.offsets.Week):
        return int(offset.n) * 7 * _DAY
    unit = _SECONDS.get(offset.name)
    return int(offset.n) * unit if unit else None
