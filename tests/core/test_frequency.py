import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.core.errors import InvalidRequest
from forecast.core.frequency import Frequency
from forecast.core.spacing import infer, infer_common, place


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
        ("15m", "15min"),
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


PLAIN = [grid for grid in GRIDS if grid[0] != "SMS"]  # which is not inferred
MARKED = {"BME", "BMS", "WOM-2TUE", "bh", "3MS", "2ME"}  # these lose what tells them in gaps


@pytest.mark.parametrize(("alias", "start"), PLAIN)
def test_the_frequency_of_a_grid_is_inferred(alias, start):
    grid = Frequency.parse(alias).timestamps(time(start), 60)
    inferred = infer(grid)
    np.testing.assert_array_equal(inferred.timestamps(grid[0], 60), grid)


@pytest.mark.parametrize(
    ("alias", "start"),
    [grid for grid in PLAIN if grid[0] not in MARKED and "09:30" not in grid[1]],
)
def test_the_frequency_is_inferred_through_gaps(alias, start):
    grid = Frequency.parse(alias).timestamps(time(start), 60)
    kept = np.delete(grid, [3, 4, 11, 30])
    inferred = infer(kept)
    np.testing.assert_array_equal(inferred.timestamps(grid[0], 60), grid)
    assert inferred.season_length == Frequency.parse(alias).season_length


def test_days_without_weekends_are_business_days():
    holidays = ["2026-01-01", "2026-01-02", "2026-01-05", "2026-01-07", "2026-01-08"]
    assert infer(times(*holidays)).alias == "B"


@pytest.mark.parametrize("step", [2, 3, 4, 7])
def test_every_so_many_business_days_are_told_from_days_and_weeks(step):
    grid = Frequency.parse(f"{step}B").timestamps(time("2026-01-05"), 30)
    assert infer(grid).alias == f"{step}B"
    assert infer(np.delete(grid, [3, 9])).alias == f"{step}B"


def test_weeks_with_a_holiday_or_a_gap_are_no_business_days():
    for days in ([2, 8, 16, 22, 30], [2, 9, 23, 30]):
        assert infer(times(*(f"2026-01-{day:02d}" for day in days))).season_length == 52


def test_too_few_or_irregular_timestamps_are_refused():
    with pytest.raises(InvalidRequest, match="fewer than 3"):
        infer(times("2026-01-01", "2026-01-02"))
    with pytest.raises(InvalidRequest, match="no regular step"):
        infer(times("2026-01-01", "2026-01-04", "2026-01-09", "2026-01-21"))
    with pytest.raises(InvalidRequest, match="no regular step"):
        infer(times("2026-01-01", "2026-01-01", "2026-01-02"))


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


@pytest.mark.parametrize("alias", ["m", "3m", "6m", "12m", "15M", "45M"])
def test_what_may_mean_minutes_or_months_is_refused(alias):
    with pytest.raises(InvalidRequest, match="minutes or months"):
        Frequency.parse(alias)


@pytest.mark.parametrize(
    ("alias", "start", "expected"),
    [
        ("MS", "2022-01-15", ["2022-02-15", "2022-03-15"]),
        ("ME", "2023-12-30T06:00:00", ["2024-01-30T06:00:00", "2024-02-29T06:00:00"]),
        ("QE", "2023-11-15", ["2024-02-15", "2024-05-15"]),
        ("YS", "2020-02-29", ["2021-02-28", "2022-02-28"]),
        ("2MS", "2023-12-31", ["2024-02-29", "2024-04-30"]),
    ],
)
def test_months_keep_the_day_that_they_begin_on(alias, start, expected):
    freq = Frequency.parse(alias).at(time(start))
    grid = freq.timestamps(time(start), 3)
    np.testing.assert_array_equal(grid, times(start, *expected))
    assert freq.position(time(start), grid).tolist() == [0, 1, 2]
    assert infer(freq.timestamps(time(start), 24)).timestamps(time(start), 3)[2] == grid[2]


def test_shop_hours_are_hours_and_office_hours_business_hours():
    days = pd.date_range("2024-05-06", periods=14, freq="D")
    hours = np.array([day + pd.Timedelta(hours=h) for day in days for h in range(9, 17)])
    shop = hours.astype("datetime64[s]")
    assert infer(shop).alias == "h"
    office = shop[pd.DatetimeIndex(shop).dayofweek < 5]
    assert infer(office).alias == "bh"
    assert (infer(office).season_length, infer(office).has_time) == (8, True)
    early = shop[pd.DatetimeIndex(shop).dayofweek < 5] - np.timedelta64(3600, "s")
    assert place(early, infer(early)).is_whole


LAST_TRADING_DAYS = ["2024-01-31", "2024-02-29", "2024-03-28", "2024-04-30", "2024-05-31"]
ODD = [
    (LAST_TRADING_DAYS, "BME", "2024-06-28"),
    (["2024-01-02", "2024-02-01", "2024-03-01", "2024-04-01", "2024-05-01"], "BMS", "2024-06-03"),
    (["2024-01-15", "2024-02-15", "2024-03-15", "2024-04-15", "2024-06-17"], "MS", "2024-07-15"),
    (["2024-03-08", "2024-03-15", "2024-03-22", "2024-03-28", "2024-04-05"], "W-FRI", "2024-04-12"),
    (["2023-11-20", "2023-11-27", "2023-12-04", "2023-12-26", "2024-01-01"], "W-MON", "2024-01-08"),
    (["2022-06-30", "2022-09-30", "2022-12-30", "2023-03-31"], "BQE-DEC", "2023-06-30"),
    (["2021-12-31", "2022-12-30", "2023-12-29", "2024-12-31"], "BYE-DEC", "2025-12-31"),
]  # fmt: skip


@pytest.mark.parametrize(("dates", "alias", "following"), ODD)
def test_odd_days_count_as_their_weeks_and_months(dates, alias, following):
    placed = place(times(*dates), infer(times(*dates)))
    assert placed.freq.alias == alias
    assert placed.is_whole
    last = int(placed.positions[-1])
    assert str(placed.freq.timestamps(placed.start, 1, skip=last + 1)[0])[:10] == following


def test_odd_days_count_at_a_frequency_that_is_named():
    dates = times(*LAST_TRADING_DAYS)
    assert place(dates, Frequency.parse("ME")).positions.tolist() == [0, 1, 2, 3, 4]
    assert place(dates[2:], Frequency.parse("BME")).start == time("2024-03-29")
    assert place(dates, Frequency.parse("BME")).moved == 2
    two_in_a_week = times("2024-03-08", "2024-03-11", "2024-03-15")
    assert not place(two_in_a_week, Frequency.parse("W")).is_whole


@pytest.mark.parametrize(
    ("dates", "freq"),
    [
        (["2024-01-05", "2024-01-12", "2024-01-20", "2024-01-26"], "W-FRI"),
        (["2024-01-31", "2024-02-29", "2024-04-01", "2024-04-30"], "ME"),
    ],
)
def test_what_is_dated_after_the_end_of_a_period_is_not_part_of_it(dates, freq):
    assert not place(times(*dates), Frequency.parse(freq)).is_whole


def test_a_panel_has_one_frequency_whatever_the_order_of_its_items():
    busy = times(*(f"2025-03-{day:02d}" for day in range(1, 31)))
    rare, two = busy[[0, 5, 12, 20, 22, 29]], busy[[3, 10]]
    for parts in ([busy, rare, two], [two, rare, busy], [rare, busy, two]):
        assert infer_common(parts).alias == "D"
    assert infer_common([busy[::2][:5], busy]).alias == "D"
    assert infer_common([rare, busy[::3], busy[1::3], busy[2::3]]).alias == "D"
    mondays, tuesdays = busy[2::7], busy[3::7]
    assert infer_common([mondays, tuesdays, tuesdays[:1]]).season_length == 52
    at_noon = busy + np.timedelta64(43_200, "s")
    assert infer_common([busy, at_noon]).alias == "D"
    with pytest.raises(InvalidRequest, match="no one step"):
        infer_common([busy, times("2025-03-01T07:11:13", "2025-03-05T09:10:11")])
    with pytest.raises(InvalidRequest, match="fewer than 3"):
        infer_common([two[:1], two[:1]])


@given(
    alias=st.sampled_from(["h", "D", "B", "W-FRI", "MS", "ME", "BME", "QE-NOV", "YS-JAN"]),
    kept=st.lists(st.integers(0, 59), min_size=1, max_size=60, unique=True),
    data=st.data(),
)
def test_whatever_is_inferred_explains_every_timestamp(alias, kept, data):
    start = pd.date_range("2020-01-03", periods=1, freq=alias)[0].to_datetime64()
    part = Frequency.parse(alias).timestamps(start, 60)[np.sort(kept)]
    moved = data.draw(st.sampled_from([0, 1]))
    part[len(part) // 2] += np.timedelta64(moved * 86_400, "s")
    try:
        placed = place(part, infer(part))
    except InvalidRequest:
        return
    grid = placed.freq.timestamps(placed.start, int(placed.positions[-1]) + 1)
    off = np.abs((grid[placed.positions] - part).astype(int))
    assert placed.is_whole
    assert off.max() <= 4 * 86_400
    assert (off > 0).any() == (placed.moved is not None)
