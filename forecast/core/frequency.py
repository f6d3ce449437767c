"""How far apart the points of a series are: parsing, inference, season length, calendars."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecast.core.errors import InvalidRequest

Timestamps = npt.NDArray[np.datetime64]

_SECONDS = {"s": 1, "min": 60, "h": 3600, "D": 86_400}
_MONTHS = {"MS": 1, "QS": 3, "YS": 12}  # starts of months can be counted by numpy
_SEASONS = {"B": 5, "D": 7, "W": 52, "M": 12, "Q": 4, "Y": 1}
_OLD_ALIASES = {"H": "h", "T": "min", "S": "s", "M": "ME", "Q": "QE", "Y": "YE", "A": "YE"}
_FEWEST_TO_INFER = 3


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
            InvalidRequest: pandas does not know it, or it does not go forward.
        """
        return _parse(alias)

    @classmethod
    def infer(cls, timestamps: Timestamps) -> "Frequency":
        """Find the frequency of timestamps [T] that may have gaps.

        Raises:
            InvalidRequest: fewer than 3 timestamps, or no regular step explains them.
        """
        if len(timestamps) < _FEWEST_TO_INFER:
            raise InvalidRequest("freq cannot be inferred from fewer than 3 timestamps; send freq")
        index = pd.DatetimeIndex(timestamps)
        if inferred := pd.infer_freq(index):
            return _parse(inferred)
        steps = np.diff(index.asi8)
        for alias in _gap_candidates(index, int(steps.min())):
            if index.isin(pd.date_range(index[0], index[-1], freq=alias)).all():
                return _parse(alias)
        raise InvalidRequest("timestamps follow no regular step; send freq, or fix the timestamps")

    @property
    def season_length(self) -> int:
        """Steps in the usual season: a day below days, then a week, a year.

        Hyndman & Athanasopoulos, FPP3, 2.1; business days have 5, weeks 52.
        """
        offset = _offset(self.alias)
        if (seconds := _seconds(self.alias)) and seconds < _SECONDS["D"]:
            return max(1, (_SECONDS["D"] if seconds >= 60 else 3600) // seconds)
        steps: int = _SEASONS.get(offset.name[0], 1) // offset.n
        return max(1, steps)

    @property
    def has_time(self) -> bool:
        """Whether a timestamp of this frequency needs its time of day."""
        seconds = _seconds(self.alias)
        return seconds is not None and seconds % _SECONDS["D"] != 0

    def timestamps(self, start: np.datetime64, count: int, *, skip: int = 0) -> Timestamps:
        """List `count` timestamps, `skip` steps after `start`: [count], datetime64[s]."""
        first = start.astype("datetime64[s]")
        if seconds := _seconds(self.alias):
            even: Timestamps = first + np.arange(skip, skip + count) * np.timedelta64(seconds, "s")
            return even
        if (months := _months(self.alias)) and first == first.astype("datetime64[M]"):
            steps = np.arange(skip, skip + count) * np.timedelta64(months, "M")
            monthly: Timestamps = first.astype("datetime64[M]") + steps
            return monthly.astype("datetime64[s]")
        index = pd.date_range(first, periods=skip + count, freq=self.alias)[skip:]
        return index.values.astype("datetime64[s]")

    def position(self, start: np.datetime64, timestamps: Timestamps) -> npt.NDArray[np.int64]:
        """Number each timestamp [T] by its steps after `start`; -1 where it is off the grid."""
        index = pd.DatetimeIndex(timestamps)
        grid = pd.date_range(start, index.max(), freq=self.alias)
        return np.asarray(grid.get_indexer(index), dtype=np.int64)


@lru_cache(maxsize=1024)
def _parse(alias: str) -> Frequency:
    try:
        offset: Any = pd.tseries.frequencies.to_offset(_modern(alias))
    except (ValueError, TypeError) as error:
        raise InvalidRequest(
            f"freq {alias!r} is not a pandas offset alias such as D, h, MS"
        ) from error
    if offset is None or offset.n < 1:
        raise InvalidRequest(f"freq {alias!r} must go forward in time")
    return Frequency(offset.freqstr)


def _modern(alias: str) -> str:
    digits = alias[: len(alias) - len(alias.lstrip("0123456789"))]
    unit, dash, anchor = alias[len(digits) :].partition("-")
    return digits + _OLD_ALIASES.get(unit, unit) + dash + anchor


@lru_cache(maxsize=1024)
def _offset(alias: str) -> Any:
    return pd.tseries.frequencies.to_offset(alias)


@lru_cache(maxsize=1024)
def _seconds(alias: str) -> int | None:
    """Length of a step where all steps are equally long, else None."""
    offset = _offset(alias)
    if isinstance(offset, pd.offsets.Week):
        return int(offset.n) * 7 * _SECONDS["D"]
    unit = _SECONDS.get(offset.name)
    return int(offset.n) * unit if unit else None


@lru_cache(maxsize=1024)
def _months(alias: str) -> int | None:
    """Months in a step that counts the starts of months, else None."""
    offset = _offset(alias)
    unit = _MONTHS.get(offset.name.split("-")[0])
    return int(offset.n) * unit if unit else None


def _gap_candidates(index: pd.DatetimeIndex, smallest_ns: int) -> list[str]:
    """Frequencies that gaps may have hidden, the most telling first."""
    unit_ns = {"ns": 1, "us": 1000, "ms": 10**6, "s": 10**9}[index.unit]
    seconds = smallest_ns * unit_ns // 10**9
    if seconds >= 28 * _SECONDS["D"]:
        return ["MS", "ME", "QS", "QE", "YS", "YE"]
    if seconds <= 0:
        return []
    if seconds == _SECONDS["D"] and not (index.dayofweek >= 5).any():
        return ["B", "D"]
    return [f"{seconds}s"]
