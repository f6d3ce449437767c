"""How timestamps are written in an answer."""

from typing import Literal

import numpy as np

from forecast.core.frequency import Frequency, Timestamps


def time_texts(times: Timestamps, freq: Frequency, *, is_utc: bool) -> list[str]:
    """Write ISO 8601: days alone where no time of day matters, with a Z where it is UTC."""
    if is_utc:
        return iso_texts(times, is_utc=True)
    is_days = not freq.has_time and bool(times[0] == times[0].astype("datetime64[D]"))
    if not is_days:
        return iso_texts(times, is_utc=False)
    days: list[str] = np.datetime_as_string(times, unit="D").tolist()
    return days


def iso_texts(times: Timestamps, *, is_utc: bool) -> list[str]:
    """Write ISO 8601 with the time of day."""
    zone: Literal["UTC", "naive"] = "UTC" if is_utc else "naive"
    texts: list[str] = np.datetime_as_string(times, unit="s", timezone=zone).tolist()
    return texts
