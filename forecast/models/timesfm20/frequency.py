"""The three classes of frequency that TimesFM 2.0 was trained with."""

from functools import lru_cache

import numpy as np

from forecast.core.frequency import Frequency

HIGH, MEDIUM, LOW = 0, 1, 2

_A_MONDAY = np.datetime64("2001-01-01", "s")
_WEEK = np.timedelta64(7, "D")
_MONTH = np.timedelta64(31, "D")


@lru_cache(maxsize=1024)
def frequency_class(freq: Frequency | None) -> int:
    """Name the class of a frequency: up to daily, weekly and monthly, or slower.

    As `freq_map` of the authors' package has it (google-research/timesfm, v1), by the length
    of a step rather than by the spelling; an unknown frequency is high, their default.
    """
    if freq is None:
        return HIGH
    first, second = freq.timestamps(_A_MONDAY, 2)
    step = second - first
    if step < _WEEK:
        return HIGH
    return MEDIUM if step <= _MONTH else LOW
