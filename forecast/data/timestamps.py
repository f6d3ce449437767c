"""How timestamps are written in an answer."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from forecast.core.clock import clock_texts
from forecast.core.frequency import Frequency
from forecast.core.types import Series

_LONGEST_KEPT = 512  # steps


def future_texts(series: Series, horizon: int) -> Sequence[str] | None:
    """Write the times after a series as ISO 8601; None where time is not known.

    Days alone where neither the time of day nor an offset matters; else with the offset of the
    clock. The series of a panel mostly end together, so short lists are kept.
    """
    if series.start is None or series.freq is None:
        return None
    texts = _kept_texts if horizon <= _LONGEST_KEPT else _texts
    return texts(series.freq, series.start, series.length, horizon, series.clock)


def _texts(
    freq: Frequency, start: np.datetime64, skip: int, horizon: int, clock: str | None
) -> tuple[str, ...]:
    times = freq.timestamps(start, horizon, skip=skip)
    has_time = freq.has_time or clock is not None
    if has_time or times[0] != times[0].astype("datetime64[D]"):
        return tuple(clock_texts(times, clock))
    return tuple(np.datetime_as_string(times, unit="D").tolist())


_kept_texts = lru_cache(maxsize=1024)(_texts)
