"""How timestamps are written in an answer."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np

from forecast.core.frequency import Frequency, Timestamps
from forecast.core.types import Series

_LONGEST_KEPT = 512  # steps


def future_texts(series: Series, horizon: int) -> Sequence[str] | None:
    """Write the times after a series as ISO 8601; None where time is not known.

    Days alone where no time of day matters, with a Z where they are in UTC. The series of a
    panel mostly end together, so short lists are kept.
    """
    if series.start is None or series.freq is None:
        return None
    texts = _kept_texts if horizon <= _LONGEST_KEPT else _texts
    return texts(series.freq, series.start, series.length, horizon, series.is_utc)


def _texts(
    freq: Frequency, start: np.datetime64, skip: int, horizon: int, is_utc: bool
) -> tuple[str, ...]:
    times = freq.timestamps(start, horizon, skip=skip)
    is_days = not (freq.has_time or is_utc) and times[0] == times[0].astype("datetime64[D]")
    if not is_days:
        return tuple(iso_texts(times, is_utc=is_utc))
    return tuple(np.datetime_as_string(times, unit="D").tolist())


_kept_texts = lru_cache(maxsize=1024)(_texts)


def iso_texts(times: Timestamps, *, is_utc: bool) -> list[str]:
    """Write ISO 8601 with the time of day."""
    zone: Literal["UTC", "naive"] = "UTC" if is_utc else "naive"
    texts: list[str] = np.datetime_as_string(times, unit="s", timezone=zone).tolist()
    return texts
