import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.core.errors import InvalidRequest
from forecast.core.frequency import Frequency


def time(text):
    return np.datetime64(text, "s")


def times(*texts):
    return np.array(texts, dtype="datetime64[s]")


@pytest.mark.parametrize(
    ("alias", "expected"),
    [
        ("D", "D"),
        ("H", "h"),
        ("T", "min"),
        ("15T", "15min"),
        ("S", "s"),
        ("M", "ME"),
        ("2M", "2ME"),
        ("Q", "QE-DEC"),
        ("Q-NOV", "QE-NOV"),
        ("A", "YE-DEC"),
        ("Y", "YE-DEC"),
        ("MS", "MS"),
        ("W", "W-SUN"),
        ("W-WED", "W-WED"),
        ("B", "B"),
        ("24h", "24h"),
    ],
)
def test_old_and_new_spellings_are_read(alias, expected):
    assert Frequency.parse(alias).alias == expected


@pytest.mark.parametrize("alias", ["", "x", "fortnight", "D;", "1D2", "W-", "-1D", "0D", "-MS"])
def test_what_is_no_frequency_is_refused(alias):
    with pytest.raises(InvalidRequest, match="freq"):
        Frequency.parse(alias)


@pytest.mark.parametrize("alias", ["ms", "us", "ns", "500ms"])
def test_steps_shorter_than_a_second_are_refused(alias):
    with pytest.raises(InvalidRequest, match="shorter than a second"):
        Frequency.parse(alias)


@pytest.mark.parametrize("alias", ["99999999D", "9999999999s", "20000MS"])
def test_steps_longer_than_a_century_are_refused(alias):
    with pytest.raises(InvalidRequest, match="longer than a century"):
        Frequency.parse(alias)


@pytest.mark.parametrize(
    ("alias", "season"),
    [
        ("s", 3600), ("30s", 120), ("min", 1440), ("15min", 96), ("h", 24), ("2h", 12), ("D", 7),
        ("24h", 7), ("7D", 52), ("2D", 3), ("30D", 1), ("B", 5), ("C", 5), ("W", 52), ("2W", 26),
        ("MS", 12), ("ME", 12), ("BME", 12), ("BMS", 12), ("2MS", 6), ("SMS", 24), ("WOM-2TUE", 12),
        ("QE", 4), ("BQS", 4), ("YE", 1), ("BYS", 1), ("REQ-N-DEC-MON-3", 4),
    ],
)  # fmt: skip
def test_the_season_follows_from_the_step(alias, season):
    assert Frequency.parse(alias).season_length == season


@pytest.mark.parametrize(
    ("alias", "has_time"),
    [("h", True), ("90min", True), ("36h", True), ("24h", False), ("D", False), ("MS", False)],
)
def test_only_steps_within_days_need_a_time_of_day(alias, has_time):
    assert Frequency.parse(alias).has_time is has_time


GRIDS = [
    ("D", "2024-02-27T06:00:00"), ("h", "2024-02-28T22:00:00"), ("15min", "2024-01-01T00:15:00"),
    ("W-WED", "2024-01-03"), ("2W-SUN", "2024-01-07"), ("MS", "2024-01-01"),
    ("3MS", "2023-11-01"), ("ME", "2024-01-31"), ("2ME", "2023-12-31"), ("QS-JAN", "2024-04-01"),
    ("QE-DEC", "2023-12-31"), ("QE-NOV", "2024-02-29"), ("YS-JAN", "2020-01-01"),
    ("YE-DEC", "2019-12-31"), ("YE-JUN", "2019-06-30"), ("B", "2024-03-28"), ("2B", "2024-03-28"),
    ("B", "2024-03-28T09:30:00"), ("MS", "2024-01-01T09:30:00"), ("ME", "2024-01-31T09:30:00"),
    ("BME", "2024-01-31"), ("BMS", "2024-01-01"), ("SMS", "2024-01-01"), ("WOM-2TUE", "2024-01-09"),
    ("bh", "2024-01-05T15:00:00"),
]  # fmt: skip


@pytest.mark.parametrize(("alias", "start"), GRIDS)
def test_timestamps_are_those_of_pandas(alias, start):
    freq = Frequency.parse(alias)
    expected = pd.date_range(start, periods=80, freq=alias).values.astype("datetime64[s]")
    np.testing.assert_array_equal(freq.timestamps(time(start), 80), expected)
    np.testing.assert_array_equal(freq.timestamps(time(start), 30, skip=50), expected[50:])
    assert freq.timestamps(time(start), 0).size == 0


@pytest.mark.parametrize(("alias", "start"), GRIDS)
def test_positions_count_the_steps_and_tell_what_is_off_the_grid(alias, start):
    freq = Frequency.parse(alias)
    grid = freq.timestamps(time(start), 40)
    kept = np.array([0, 1, 4, 5, 20, 39])
    np.testing.assert_array_equal(freq.position(time(start), grid[kept]), kept)
    off = np.concatenate([grid[:2], grid[2:3] + np.timedelta64(37, "s"), grid[3:]])
    assert freq.position(time(start), off).tolist() == [0, 1, -1, *range(3, 40)]
    assert freq.position(grid[5], grid[:7]).tolist() == [-1] * 5 + [0, 1]


@pytest.mark.parametrize(("alias", "start"), GRIDS)
def test_timestamps_beyond_the_calendar_are_refused(alias, start):
    with pytest.raises(InvalidRequest, match="1678 to 2261"):
        Frequency.parse(alias).timestamps(time("2261-01-01"), 2, skip=10**7)


PLAIN = [grid for grid in GRIDS if grid[0] not in {"2B", "SMS"}]  # pandas infers all but these
MARKED = {"BME", "BMS", "WOM-2TUE", "bh", "3MS", "2ME"}  # these lose what tells them in gaps


@pytest.mark.parametrize(("alias", "start"), PLAIN)
def test_the_frequency_of_a_grid_is_inferred(alias, start):
    grid = Frequency.parse(alias).timestamps(time(start), 60)
    inferred = Frequency.infer(grid)
    np.testing.assert_array_equal(inferred.timestamps(grid[0], 60), grid)


@pytest.mark.parametrize(
    ("alias", "start"),
    [grid for grid in PLAIN if grid[0] not in MARKED and "09:30" not in grid[1]],
)
def test_the_frequency_is_inferred_through_gaps(alias, start):
    grid = Frequency.parse(alias).timestamps(time(start), 60)
    kept = np.delete(grid, [3, 4, 11, 30])
    inferred = Frequency.infer(kept)
    np.testing.assert_array_equal(inferred.timestamps(grid[0], 60), grid)
    assert inferred.season_length == Frequency.parse(alias).season_length


def test_days_without_weekends_are_business_days():
    holidays = ["2026-01-01", "2026-01-02", "2026-01-05", "2026-01-07", "2026-01-08"]
    assert Frequency.infer(times(*holidays)).alias == "B"


def test_too_few_or_irregular_timestamps_are_refused():
    with pytest.raises(InvalidRequest, match="fewer than 3"):
        Frequency.infer(times("2026-01-01", "2026-01-02"))
    with pytest.raises(InvalidRequest, match="no regular step"):
        Frequency.infer(times("2026-01-01", "2026-01-04", "2026-01-09", "2026-01-21"))
    with pytest.raises(InvalidRequest, match="no regular step"):
        Frequency.infer(times("2026-01-01", "2026-01-01", "2026-01-02"))


@pytest.mark.parametrize(
    ("alias", "start", "expected"),
    [
        ("D", "2026-01-15", "D"),
        ("h", "2026-01-15T05:30:00", "h"),
        ("W", "2026-01-14", "W-WED"),
        ("2W-SUN", "2026-01-14", "2W-WED"),
        ("ME", "2026-02-01", "MS"),
        ("3ME", "2026-02-01", "3MS"),
        ("ME", "2026-02-28", "ME"),
        ("QE", "2026-02-01", "QS-FEB"),
        ("YE", "2026-01-01", "YS-JAN"),
        ("QE", "2026-02-28", "QE-FEB"),
        ("YE", "2026-06-30", "YE-JUN"),
        ("QS", "2026-02-01", "QS-FEB"),
        ("B", "2026-01-02", "B"),
    ],
)
def test_a_frequency_is_fitted_to_its_first_timestamp(alias, start, expected):
    fitted = Frequency.parse(alias).at(time(start))
    assert fitted.alias == expected
    own = pd.date_range(start, periods=5, freq=fitted.alias).values.astype("datetime64[s]")
    np.testing.assert_array_equal(fitted.timestamps(time(start), 5), own)


@pytest.mark.parametrize(
    ("alias", "start", "following"),
    [
        ("MS", "2026-01-15", "2026-02-01"),
        ("ME", "2026-01-15", "2026-01-31"),
        ("B", "2026-01-03", "2026-01-05"),
        ("BME", "2026-01-15", "2026-01-30"),
    ],
)
def test_a_start_off_the_grid_is_refused_with_the_next_one(alias, start, following):
    with pytest.raises(InvalidRequest, match=f"the next one is {following}"):
        Frequency.parse(alias).at(time(start))


@given(
    alias=st.sampled_from(["s", "7min", "h", "D", "W-TUE", "MS", "ME", "QS", "B", "3B"]),
    start=st.datetimes(
        min_value=pd.Timestamp("1900-01-01").to_pydatetime(),
        max_value=pd.Timestamp("2050-01-01").to_pydatetime(),
    ),
    skip=st.integers(0, 300),
    count=st.integers(1, 50),
)
def test_skipping_is_the_same_as_cutting(alias, start, skip, count):
    freq = Frequency.parse(alias)
    first = pd.date_range(start.date(), periods=1, freq=alias)[0].to_datetime64()
    whole = freq.timestamps(first, skip + count)
    np.testing.assert_array_equal(freq.timestamps(first, count, skip=skip), whole[skip:])
    np.testing.assert_array_equal(freq.position(first, whole), np.arange(skip + count))
