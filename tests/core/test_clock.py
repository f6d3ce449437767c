import numpy as np
import pytest

from forecast.core.clock import LocalTimes, clock_texts, utc_of


def times(*texts):
    return np.array(texts, dtype="datetime64[s]")


WINTER = times("2025-10-25", "2025-10-26", "2025-10-27")  # summer time ends on the 26th
OFFSETS = np.array([7200, 7200, 3600])


@pytest.mark.parametrize(
    ("local", "clock"),
    [
        (LocalTimes(WINTER), None),
        (LocalTimes(WINTER, np.zeros(3, int)), "UTC"),
        (LocalTimes(WINTER, np.full(3, -12_600)), "-03:30"),
        (LocalTimes(WINTER, OFFSETS), "+01:00"),
        (LocalTimes(WINTER, OFFSETS, "Europe/Berlin"), "Europe/Berlin"),
        (LocalTimes(WINTER, OFFSETS).in_utc(), "UTC"),
    ],
)
def test_a_clock_is_named_by_what_was_sent(local, clock):
    assert local.clock == clock
    assert local[1:].clock == clock


def test_times_of_a_zone_have_the_offset_of_their_day_and_others_that_of_the_clock():
    assert clock_texts(WINTER, "Europe/Berlin") == [
        "2025-10-25T00:00:00+02:00", "2025-10-26T00:00:00+02:00", "2025-10-27T00:00:00+01:00"
    ]  # fmt: skip
    assert clock_texts(WINTER[:1], "UTC") == ["2025-10-25T00:00:00Z"]
    assert clock_texts(WINTER[:1], "-03:30") == ["2025-10-25T00:00:00-03:30"]
    assert clock_texts(WINTER[:1], None) == ["2025-10-25T00:00:00"]


@pytest.mark.parametrize("clock", [None, "UTC", "+09:00", "-03:30", "Europe/Berlin"])
def test_times_of_a_clock_in_utc_are_those_that_their_texts_say(clock):
    wall = np.arange(times("2025-01-01T12:00")[0], times("2026-01-01")[0], np.timedelta64(1, "D"))
    told = [np.datetime64(text.removesuffix("Z")[:19]) for text in clock_texts(wall, clock)]
    assert told == list(wall)
    shift = {"+09:00": [-9], "-03:30": [3.5], "Europe/Berlin": [-2, -1]}.get(clock, [0])
    assert set((utc_of(wall, clock) - wall).astype(int) / 3600) == set(shift)


def test_an_hour_that_a_zone_leaves_out_or_has_twice_is_one_hour():
    odd = times("2025-03-30T02:30", "2025-10-26T02:30")
    expected = times("2025-03-30T01:00", "2025-10-26T00:30")
    np.testing.assert_array_equal(utc_of(odd, "Europe/Berlin"), expected)
