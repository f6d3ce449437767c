"""The clocks that times are read from: days, weeks and months are those of the sender's clock.

A clock is None (no offset was sent), `UTC`, an offset such as `+09:00`, or a time zone such as
`Europe/Berlin`. A series counts its steps in the time of its clock.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from forecast.core.calendar import Positions, Timestamps

UTC = "UTC"

_HOUR = 3600
_DAY = 24 * _HOUR
_FARTHEST_WEST = 11 * _HOUR  # behind UTC; farther east, clocks are up to 13 hours ahead


@dataclass(frozen=True, slots=True, eq=False)
class LocalTimes:
    """Times as their sender wrote them.

    Attributes:
        wall: [n] datetime64[s], what the sender's clock showed.
        offsets: [n] seconds that the clock was ahead of UTC; None where no offset was sent.
        zone: name of the time zone, where it was sent.
    """

    wall: Timestamps
    offsets: Positions | None = None
    zone: str | None = None

    @property
    def utc(self) -> Timestamps:
        """The same times in UTC: [n]. Without an offset they stay what they are."""
        return (
            self.wall if self.offsets is None else self.wall - self.offsets.astype("timedelta64[s]")
        )

    @property
    def is_shifted(self) -> bool:
        """Whether the clock was put forward or back meanwhile."""
        return self.offsets is not None and bool((self.offsets != self.offsets[0]).any())

    def __getitem__(self, rows: slice | Positions) -> "LocalTimes":
        offsets = None if self.offsets is None else self.offsets[rows]
        return LocalTimes(self.wall[rows], offsets, self.zone)

    def in_utc(self) -> "LocalTimes":
        """Read the same times from a clock in UTC."""
        return LocalTimes(self.utc, np.zeros(len(self.wall), dtype=np.int64))

    def at_midnight(self) -> "LocalTimes | None":
        """Read days sent in UTC from the clock on which each of them begins, if there is one.

        Many senders write midnight of their own clock in UTC, as 23:00 or 22:00 of the day before.
        """
        if self.offsets is None or self.offsets.any():
            return None
        time_of_day = (self.wall - self.wall.astype("datetime64[D]")).astype(np.int64)
        if not time_of_day.any() or np.ptp(time_of_day) not in (0, _HOUR):
            return None
        offsets = np.where(time_of_day >= _FARTHEST_WEST, _DAY, 0) - time_of_day
        return LocalTimes(self.wall + offsets.astype("timedelta64[s]"), offsets)

    @property
    def clock(self) -> str | None:
        """Name the clock: where it was shifted, by its zone, or else by its last offset."""
        if self.offsets is None:
            return None
        offset = int(self.offsets[-1])
        if not offset and not self.is_shifted:
            return UTC
        return self.zone if self.zone and self.is_shifted else _offset_text(offset)


def utc_of(wall: Timestamps, clock: str | None) -> Timestamps:
    """Turn times [n] of a clock into UTC; those without an offset are in UTC already.

    An hour that a zone has twice is its first; one that it leaves out is when it is left out.
    """
    if clock is None or clock == UTC:
        return wall
    if clock[0] in "+-":
        seconds = (int(clock[1:3]) * 60 + int(clock[4:6])) * 60
        return wall - np.timedelta64(-seconds if clock[0] == "-" else seconds, "s")
    return _seconds_of(_zoned(wall, clock).tz_convert(None))


def _zoned(wall: Timestamps, zone: str) -> pd.DatetimeIndex:
    first = np.ones(len(wall), dtype=bool)
    return pd.DatetimeIndex(wall).tz_localize(zone, ambiguous=first, nonexistent="shift_forward")


def _seconds_of(index: pd.DatetimeIndex) -> Timestamps:
    times: Timestamps = index.values.astype("datetime64[s]")
    return times


def clock_texts(wall: Timestamps, clock: str | None) -> list[str]:
    """Write times [n] of a clock as ISO 8601 with the time of day, and its offset."""
    texts: list[str] = np.datetime_as_string(wall, unit="s").tolist()
    if clock is None:
        return texts
    if clock == UTC or clock[0] in "+-":
        suffix = "Z" if clock == UTC else clock
        return [text + suffix for text in texts]
    zoned = _zoned(wall, clock)
    ahead = _seconds_of(zoned.tz_localize(None)) - _seconds_of(zoned.tz_convert(None))
    offsets = ahead.astype(np.int64).tolist()
    return [text + _offset_text(offset) for text, offset in zip(texts, offsets, strict=True)]


def _offset_text(seconds: int) -> str:
    minutes = abs(seconds) // 60
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"
