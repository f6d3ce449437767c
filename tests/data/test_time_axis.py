"""Days, weeks and months as their senders date them: what is read, and which steps follow."""

from datetime import UTC, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.core.errors import InvalidRequest
from forecast.data.answers import future_texts
from forecast.data.times import read_times


def stamps(start, periods, freq, zone=None):
    index = pd.date_range(start, periods=periods, freq=freq, tz=zone)
    return [time.isoformat() for time in index]


def in_utc(start, periods, freq, zone):
    index = pd.date_range(start, periods=periods, freq=freq, tz=zone).tz_convert("UTC")
    return [f"{time:%Y-%m-%dT%H:%M:%S}Z" for time in index]


def following(series, count):
    return list(future_texts(series, count))


FOLLOWING = [  # timestamps, the frequency, the steps that follow
    (
        stamps("2025-10-13", 21, "D", "Europe/Berlin"),
        "D",
        ["2025-11-03T00:00:00+01:00", "2025-11-04T00:00:00+01:00", "2025-11-05T00:00:00+01:00"],
    ),
    (
        stamps("2025-02-03", 20, "B", "Asia/Tokyo"),
        "B",
        ["2025-03-03T00:00:00+09:00", "2025-03-04T00:00:00+09:00", "2025-03-05T00:00:00+09:00"],
    ),
    (
        stamps("2024-01-01", 12, "MS", "America/New_York"),
        "MS",
        ["2025-01-01T00:00:00-05:00", "2025-02-01T00:00:00-05:00", "2025-03-01T00:00:00-05:00"],
    ),
    (
        stamps("2025-03-03", 8, "W-MON", "Europe/Paris"),
        "W-MON",
        ["2025-04-28T00:00:00+02:00", "2025-05-05T00:00:00+02:00", "2025-05-12T00:00:00+02:00"],
    ),
    (
        stamps("2025-10-25T20:00", 12, "h", "Europe/Berlin"),
        "h",
        ["2025-10-26T06:00:00Z", "2025-10-26T07:00:00Z", "2025-10-26T08:00:00Z"],
    ),
    (
        stamps("2025-03-29T20:00", 14, "30min", "Europe/Berlin"),
        "30min",
        ["2025-03-30T02:00:00Z", "2025-03-30T02:30:00Z", "2025-03-30T03:00:00Z"],
    ),
    (
        stamps("2024-05-06T09:00", 80, "bh", "Asia/Kolkata"),
        "bh",
        ["2024-05-20T09:00:00+05:30", "2024-05-20T10:00:00+05:30", "2024-05-20T11:00:00+05:30"],
    ),
    (
        in_utc("2025-10-13", 21, "D", "Europe/Berlin"),
        "D",
        ["2025-11-03T00:00:00+01:00", "2025-11-04T00:00:00+01:00"],
    ),
    (
        in_utc("2025-02-03", 20, "B", "Asia/Tokyo"),
        "B",
        ["2025-03-03T00:00:00+09:00", "2025-03-04T00:00:00+09:00"],
    ),
    (
        in_utc("2024-01-01", 12, "MS", "America/New_York"),
        "MS",
        ["2025-01-01T00:00:00-05:00", "2025-02-01T00:00:00-05:00"],
    ),
    (in_utc("2026-01-01T09:00", 5, "D", "UTC"), "D", ["2026-01-06T09:00:00Z"]),
    (stamps("2022-01-15", 24, pd.DateOffset(months=1)), "MS", ["2024-01-15", "2024-02-15"]),
    (["2012-01-31", "2012-02-29", "2012-04-30", "2012-05-31"], "ME", ["2012-06-30", "2012-07-31"]),
    (["2022-01", "2022-02", "2022-04", "2022-05"], "MS", ["2022-06-01", "2022-07-01"]),
    (["2024-01-31", "2024-02-29", "2024-03-28", "2024-04-30"], "BME", ["2024-05-31", "2024-06-28"]),
    (["2024-03-08", "2024-03-15", "2024-03-22", "2024-03-28"], "W-FRI", ["2024-04-05"]),
    ([2011, 2012, 2013, 2014], "YS-JAN", ["2015-01-01", "2016-01-01"]),
]


@pytest.mark.parametrize(("times", "alias", "expected"), FOLLOWING)
def test_steps_follow_on_the_clock_and_the_days_of_the_sender(read, times, alias, expected):
    values = list(range(len(times)))
    inline = {"inputs": [{"timestamps": times, "target": values}], "parameters": {"horizon": 2}}
    table = {
        "data": {"t": times, "y": values},
        "schema": {"timestamp": "t", "target": "y"},
        "parameters": {"horizon": 2},
    }
    for document in (inline, table):
        (series,) = read(document).series
        assert series.freq.alias == alias
        assert following(series, len(expected)) == expected
        np.testing.assert_array_equal(series.target[~np.isnan(series.target)], values)


def test_shop_hours_are_hours_with_gaps_and_office_hours_business_hours(read):
    days = pd.date_range("2024-05-06", periods=14, freq="D")
    shop = [f"{day:%Y-%m-%d} {hour:02d}:00:00" for day in days for hour in range(9, 17)]
    office = [time for time in shop if pd.Timestamp(time).dayofweek < 5]
    inputs = [{"timestamps": times, "target": [1] * len(times)} for times in (shop, office)]
    request = read({"inputs": inputs, "parameters": {"horizon": 1}})
    assert [series.freq.alias for series in request.series] == ["h", "bh"]
    assert [series.season_length for series in request.series] == [24, 8]
    assert following(request.series[1], 1) == ["2024-05-20T09:00:00"]
    assert request.warnings == (
        "208 missing timestamps of series '0' were filled with missing values",
    )


SPELLED = [
    ("W-SUN", "2022-05-02", "W-MON", "freq W-SUN has no step on 2022-05-02"),
    ("W", "2022-05-02", "W-MON", None),
    ("QS-JAN", "2022-02-01", "QS-FEB", "freq QS-JAN has no step on 2022-02-01"),
    ("QS-JAN", "2022-04-01", "QS-APR", None),
    ("MS", "2022-05-15", "MS", "as MS on that day of the month"),
    ("ME", "2022-05-01", "MS", None),
    ("15m", "2022-05-02", "15min", None),
]


@pytest.mark.parametrize(("freq", "start", "alias", "warning"), SPELLED)
def test_an_anchor_that_was_spelled_out_is_not_replaced_without_a_word(
    read, freq, start, alias, warning
):
    inputs = [{"start": start, "freq": freq, "target": [1, 2, 3]}]
    request = read({"inputs": inputs, "parameters": {"horizon": 1}})
    assert request.series[0].freq.alias == alias
    said = " ".join(request.warnings)
    assert (warning in said) if warning else not said


def panel(items, freq=None):
    rows = [(name, day, 1) for name, days in items for day in days]
    schema = {"timestamp": "t", "item_id": "id", "target": "y"}
    if freq:
        schema["freq"] = freq
    names, days, values = map(list, zip(*rows, strict=True))
    return {
        "data": {"id": names, "t": days, "y": values},
        "schema": schema,
        "parameters": {"horizon": 2},
    }


def test_an_item_that_is_sold_rarely_has_the_step_of_its_panel_in_any_order(read):
    busy = stamps("2025-03-03", 30, "D")
    rare, two = busy[::5], [busy[3], busy[10]]
    for items in ([("b", busy), ("r", rare), ("t", two)], [("t", two), ("r", rare), ("b", busy)]):
        request = read(panel(items))
        assert {series.freq.alias for series in request.series} == {"D"}
        found = {series.item_id: following(series, 1) for series in request.series}
        assert found == {"b": ["2025-04-02"], "r": ["2025-03-29"], "t": ["2025-03-14"]}


def test_two_rows_have_the_step_of_the_other_series_or_the_one_that_is_sent(read):
    times = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]
    inputs = [{"timestamps": part, "target": [1] * len(part)} for part in (times[1:3], times)]
    request = read({"inputs": inputs, "parameters": {"horizon": 1}})
    assert [series.freq.alias for series in request.series] == ["D", "D"]
    (series,) = read(panel([("k", ["2025-01-01", "2025-02-01"])], freq="MS")).series
    assert following(series, 2) == ["2025-03-01", "2025-04-01"]
    with pytest.raises(InvalidRequest, match="fewer than 3"):
        read({"inputs": inputs[:1], "parameters": {"horizon": 1}})


def test_items_of_one_panel_each_have_their_own_clock(read):
    items = [
        ("tokyo", stamps("2025-02-03", 10, "D", "Asia/Tokyo")),
        ("berlin", stamps("2025-10-20", 10, "D", "Europe/Berlin")),
    ]
    tokyo, berlin = read(panel(items)).series
    assert (tokyo.clock, berlin.clock) == ("+09:00", "+01:00")
    assert following(tokyo, 1) == ["2025-02-13T00:00:00+09:00"]
    assert following(berlin, 1) == ["2025-10-30T00:00:00+01:00"]


def test_rows_that_repeat_an_hour_of_a_clock_that_was_put_back_say_how_to_send_it(read):
    hours = ["2025-10-26T01:00", "2025-10-26T02:00", "2025-10-26T02:00", "2025-10-26T03:00"]
    with pytest.raises(InvalidRequest, match="UTC offset where a clock was put back"):
        read(panel([("a", hours)]))


def test_rows_known_ahead_follow_the_same_odd_days(read):
    days = ["2024-01-31", "2024-02-29", "2024-03-28", "2024-04-30", "2024-05-31"]
    document = {
        "data": {"t": days, "y": [1, 2, 3, None, None], "x": [1, 2, 3, 4, 5]},
        "schema": {"timestamp": "t", "target": "y", "future_covariates": ["x"]},
        "parameters": {"horizon": 2},
    }
    request = read(document)
    (series,) = request.series
    assert (series.freq.alias, series.length) == ("BME", 3)
    assert series.future_covariates["x"].tolist() == [4, 5]
    assert "such as 2024-03-28 as 2024-03-29" in request.warnings[0]


ANY_DAY = [
    ("ME", ["2024-01-26", "2024-02-23", "2024-03-29", "2024-05-31"], "ME", ["2024-06-30"]),
    ("MS", ["2024-01-03", "2024-02-19", "2024-03-22", "2024-05-31"], "MS", ["2024-06-01"]),
    ("W", ["2024-01-03", "2024-01-09", "2024-01-17", "2024-02-01"], "W-SUN", ["2024-02-11"]),
    ("W-MON", ["2024-01-03", "2024-01-08", "2024-01-17", "2024-02-01"], "W-MON", ["2024-02-05"]),
]


@pytest.mark.parametrize(("freq", "times", "alias", "expected"), ANY_DAY)
def test_months_and_weeks_on_any_day_are_read_at_a_frequency_that_is_sent(
    read, freq, times, alias, expected
):
    sent = {"timestamps": times, "target": [1, 2, 3, 4]}
    with pytest.raises(InvalidRequest, match=r"read with freq ME \(or MS\) and W-SUN"):
        read({"inputs": [sent], "parameters": {"horizon": 1}})
    request = read({"inputs": [{**sent, "freq": freq}], "parameters": {"horizon": 1}})
    (series,) = request.series
    assert (series.freq.alias, series.length) == (alias, 5)
    assert following(series, 1) == expected
    assert "count as the nearest step" in request.warnings[1]
    twice = {"timestamps": [times[0], *times[:3]], "target": [1, 2, 3, 4], "freq": freq}
    with pytest.raises(InvalidRequest, match="must increase"):
        read({"inputs": [twice], "parameters": {"horizon": 1}})


OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(
    pd.Timestamp("1700-01-01").to_pydatetime(),
    pd.Timestamp("2200-01-01").to_pydatetime(),
    timezones=OFFSETS,
).map(lambda moment: moment.replace(microsecond=0))


@given(st.lists(MOMENTS, min_size=1, max_size=20))
def test_times_are_the_same_moments_in_utc_and_what_their_clock_showed(moments):
    local = read_times([moment.isoformat() for moment in moments], "/times")
    for moment, wall, utc in zip(moments, local.wall, local.utc, strict=True):
        assert wall == np.datetime64(moment.replace(tzinfo=None), "s")
        assert utc == np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "s")
    naive = read_times([moment.replace(tzinfo=None).isoformat() for moment in moments], "/times")
    np.testing.assert_array_equal(naive.utc, local.wall)
    assert naive.clock is None
