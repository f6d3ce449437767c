"""The clocks that times are read from: days, weeks and months are those of the sender's clock.

A clock is None (no offset was sent), `UTC`, an offset such as `+09:00`, or a time zone such as
`Europe/Berlin`. A series counts its steps in the time of its clock.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecast.core.calendar import Positions, Timestamps

UTC = "UTC"


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
        return self.wall if self.offsets is None else self.wall - _seconds(self.offsets)

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
    """Turn times [n] of a clock into UTC; those without an offset are in UTC already."""
    if clock is None or clock == UTC:
        return wall
    return wall - _seconds(clock_offsets(wall, clock))


def clock_offsets(wall: Timestamps, clock: str) -> Positions:
    """Find how many seconds a clock is ahead of UTC at each of its times [n].

    An hour that a zone has twice is its first, and one that it leaves out counts on.
    """
    if clock == UTC:
        return np.zeros(len(wall), dtype=np.int64)
    if clock[0] in "+-":
        hours, minutes = int(clock[1:3]), int(clock[4:6])
        seconds = (hours * 60 + minutes) * 60
        return np.full(len(wall), -seconds if clock[0] == "-" else seconds)
    index = pd.DatetimeIndex(wall)
    summer = np.ones(len(wall), dtype=bool)
    zoned = index.tz_localize(clock, ambiguous=summer, nonexistent="shift_forward")
    utc = zoned.tz_convert(None).values.astype("datetime64[s]")
    moved = zoned.tz_localize(None).values.astype("datetime64[s]")
    return np.asarray((moved - utc).astype(np.int64))


def clock_texts(wall: Timestamps, clock: str | None) -> list[str]:
    """Write times [n] of a clock as ISO 8601 with the time of day, and its offset."""
    texts: list[str] = np.datetime_as_string(wall, unit="s").tolist()
    if clock is None:
        return texts
    if clock == UTC or clock[0] in "+-":
        suffix = "Z" if clock == UTC else clock
        return [text + suffix for text in texts]
    offsets = clock_offsets(wall, clock).tolist()
    return [text + _offset_text(offset) for text, offset in zip(texts, offsets, strict=True)]


def _offset_text(seconds: int) -> str:
    minutes = abs(seconds) // 60
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"


def _seconds(counts: Positions) -> npt.NDArray[np.timedelta64]:
    return counts.astype("timedelta64[s]")
