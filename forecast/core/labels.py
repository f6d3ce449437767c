"""When a step is known: once the period that its timestamp labels is over."""

from typing import Literal

import numpy as np

from forecast.core.frequency import Frequency, Timestamps

Label = Literal["start", "end", "instant"]
"""Whether a timestamp is the start or the end of its period, or the instant of a reading."""

_SECOND = np.timedelta64(1, "s")
_HOUR = np.timedelta64(3600, "s")
_DAY = np.timedelta64(86_400, "s")
_MONTHS = {"MS": 1, "BMS": 1, "CBMS": 1, "QS": 3, "BQS": 3, "YS": 12, "BYS": 12}
_BUSINESS_DAYS = {"B", "C"}
_BUSINESS_HOURS = {"bh", "cbh"}
_LABELLED_AT_THE_END = {"W", "RE", "REQ", "WOM", "LWOM"}  # and what ends on E, as ME


def usual_label(freq: Frequency) -> Label:
    """Name what a timestamp of a frequency labels, unless the caller says otherwise.

    Months, quarters and years by their alias (`MS` start, `ME` end); weeks labelled by a Monday
    by their start, as ISO 8601 has it, by another day by their end, as pandas has it; all that
    is shorter by its start.
    """
    kind, _, anchor = freq.offset.name.partition("-")
    if (kind, anchor) == ("W", "MON"):
        return "start"
    return "end" if kind in _LABELLED_AT_THE_END or kind.endswith("E") else "start"


def known_from(times: Timestamps, freq: Frequency, label: Label | None = None) -> Timestamps:
    """Name the moment from which each of the steps [T] of a grid is known.

    That is the last second of its period: a day, `2026-01-31T23:59:59`, stands for all of it.

    Args:
        times: [T], following on each other.
        label: None for the usual one of the frequency.
    """
    label = label or usual_label(freq)
    if label == "instant" or not len(times):
        return times
    if label == "start":
        return _after(times, freq) - _SECOND
    is_day = times == times.astype("datetime64[D]")
    if freq.has_time or freq.offset.name in _BUSINESS_HOURS:
        is_day[:] = False
    ends: Timestamps = np.where(is_day, times + _DAY, times)
    return ends - _SECOND


def _after(times: Timestamps, freq: Frequency) -> Timestamps:
    """Find where the periods [T] that start at `times` end."""
    offset = freq.offset
    kind, count = offset.name.partition("-")[0], int(offset.n)
    if kind in _MONTHS and (kind[0] in "BC" or times[0] == times[0].astype("datetime64[M]")):
        after: Timestamps = times.astype("datetime64[M]") + _MONTHS[kind] * count
        return after.astype("datetime64[s]")
    if kind in _BUSINESS_DAYS and count == 1:
        return times + _DAY
    if kind in _BUSINESS_HOURS:
        return times + count * _HOUR
    return freq.timestamps(times[0], len(times), skip=1)
