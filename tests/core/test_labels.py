"""A step is known when the period that its timestamp labels is over."""

import numpy as np
import pytest

from forecast.core.frequency import Frequency
from forecast.core.labels import known_from


def second_of(alias, start, label=None):
    """When the first of three steps is known, in words."""
    first = np.datetime64(start, "s")
    freq = Frequency.parse(alias).at(first)
    known = known_from(freq.timestamps(first, 3), freq, label)
    assert (np.diff(known).astype(int) > 0).all()
    return str(known[0])


@pytest.mark.parametrize(
    ("alias", "start", "known"),
    [
        ("15min", "2026-01-01T10:00", "2026-01-01T10:14:59"),
        ("h", "2026-01-01T10:00", "2026-01-01T10:59:59"),
        ("bh", "2026-01-02T16:00", "2026-01-02T16:59:59"),  # not on Monday morning
        ("D", "2026-01-01", "2026-01-01T23:59:59"),
        ("D", "2026-01-01T06:00", "2026-01-02T05:59:59"),
        ("2D", "2026-01-01", "2026-01-02T23:59:59"),
        ("B", "2026-01-02", "2026-01-02T23:59:59"),  # a Friday: not on Sunday
        ("W-MON", "2026-01-05", "2026-01-11T23:59:59"),
        ("W-SUN", "2026-01-11", "2026-01-11T23:59:59"),
        ("MS", "2025-12-01", "2025-12-31T23:59:59"),
        ("ME", "2025-12-31", "2025-12-31T23:59:59"),
        ("BMS", "2026-05-01", "2026-05-31T23:59:59"),
        ("BME", "2026-01-30", "2026-01-30T23:59:59"),
        ("QS", "2026-01-01", "2026-03-31T23:59:59"),
        ("QE", "2026-03-31", "2026-03-31T23:59:59"),
        ("YS", "2025-01-01", "2025-12-31T23:59:59"),
        ("YE", "2025-12-31", "2025-12-31T23:59:59"),
        ("SMS", "2026-01-15", "2026-01-31T23:59:59"),
        ("WOM-3FRI", "2026-01-16", "2026-01-16T23:59:59"),
    ],
)
def test_each_frequency_has_its_convention(alias, start, known):
    assert second_of(alias, start) == known


def test_the_caller_may_say_otherwise():
    assert second_of("h", "2026-01-01T10:00", "end") == "2026-01-01T09:59:59"
    assert second_of("h", "2026-01-01T10:00", "instant") == "2026-01-01T10:00:00"
    assert second_of("W-MON", "2026-01-05", "end") == "2026-01-05T23:59:59"
    assert second_of("W-SUN", "2026-01-04", "start") == "2026-01-10T23:59:59"
    assert second_of("ME", "2026-01-31", "start") == "2026-02-27T23:59:59"
