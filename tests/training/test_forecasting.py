"""Where a backtest cuts, and the seasonal naive that every model is measured beside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.core.errors import InvalidRequest
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.training.forecasting import origins_of
from forecast.training.plan import BacktestPlan
from forecast.training.results import seasonal_naive

DAILY = Frequency.parse("D")


def series_of(length: int, start: str | None = "2024-01-01", **given) -> Series:
    first = None if start is None else np.datetime64(start, "s")
    freq = None if start is None else DAILY
    return Series(np.arange(float(length))[None], start=first, freq=freq, **given)


def plan_of(horizon: int = 2, windows: int = 3, step: int = 1, **given) -> BacktestPlan:
    return BacktestPlan(horizon=horizon, windows=windows, step=step, **given)


def test_origins_are_laid_back_from_the_end_and_the_last_leaves_one_horizon():
    windows = origins_of([series_of(10)], plan_of(step=2))
    assert [window.name for window in windows] == ["2024-01-04", "2024-01-06", "2024-01-08"]
    assert [str(window.first)[:10] for window in windows] == [
        "2024-01-05", "2024-01-07", "2024-01-09",
    ]  # fmt: skip
    (part,) = windows[-1].parts
    assert part.past.target.tolist() == [list(range(8))]
    assert part.actual.tolist() == [[8.0, 9.0]]
    assert [str(moment)[:10] for moment in part.timestamps] == ["2024-01-09", "2024-01-10"]


def test_origins_are_moments_that_series_of_different_lengths_share():
    late = series_of(4, "2024-01-06", item_id="late")  # to 9 January
    ended = series_of(5, item_id="ended")  # to 5 January
    windows = origins_of([series_of(10, item_id="long"), late, ended], plan_of(step=2))
    taking_part = [{part.past.item_id: part.past.length for part in one.parts} for one in windows]
    assert taking_part == [
        {"long": 4},  # nothing of `late` is known, and only one step of `ended` is left
        {"long": 6, "late": 1},
        {"long": 8},  # of `late`, one step of the horizon is lacking
    ]


def test_without_times_each_series_is_cut_from_its_own_end():
    windows = origins_of([series_of(10, None), series_of(6, None, item_id="1")], plan_of())
    assert [window.name for window in windows] == [
        "4 steps before the end", "3 steps before the end", "2 steps before the end",
    ]  # fmt: skip
    assert [[part.past.length for part in window.parts] for window in windows] == [
        [6, 2], [7, 3], [8, 4],
    ]  # fmt: skip


def test_what_is_known_ahead_reaches_over_the_horizon_and_no_further():
    known = np.arange(10.0)
    series = series_of(
        10,
        past_covariates={"known": known, "seen": known * 2},
        future_covariates={"known": np.array([10.0, 11.0])},
    )
    (window,) = origins_of([series], plan_of(horizon=3, windows=1))
    past = window.parts[0].past
    assert past.future_covariates["known"].tolist() == [7.0, 8.0, 9.0]
    assert past.past_covariates["seen"].tolist() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]


@pytest.mark.parametrize(
    ("series", "plan", "words"),
    [
        ([series_of(10)], plan_of(windows=9), "enough for 8 windows"),
        ([series_of(3)], plan_of(horizon=3), "enough for 0 windows"),
        ([series_of(10), series_of(10, None)], plan_of(), "has no times"),
        ([Series(np.full((1, 10), np.nan))], plan_of(), "no window"),
    ],
)
def test_what_cannot_be_laid_says_what_can(series, plan, words):
    with pytest.raises(InvalidRequest, match=words):
        origins_of(series, plan)


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    starts=st.lists(st.integers(0, 20), min_size=4, max_size=4),
    horizon=st.integers(1, 5),
    windows=st.integers(1, 5),
    step=st.integers(1, 4),
)
def test_no_part_holds_anything_after_its_origin(lengths, starts, horizon, windows, step):
    first = np.datetime64("2024-01-01", "s")
    series = [
        Series(
            np.arange(float(start), start + length)[None],  # each value is its own day
            item_id=str(number),
            start=first + np.timedelta64(start, "D"),
            freq=DAILY,
        )
        for number, (length, start) in enumerate(zip(lengths, starts, strict=False))
    ]
    try:
        laid = origins_of(series, plan_of(horizon, windows, step))
    except InvalidRequest:
        return
    assert len(laid) == windows
    for window in laid:
        day = (window.time - first) / np.timedelta64(1, "D")
        for part in window.parts:
            assert part.past.target.max() == day
            assert part.actual[0].tolist() == list(np.arange(day + 1, day + 1 + horizon))


def test_the_naive_repeats_the_last_season_and_widens_with_each():
    weekly = Series(np.array([[1.0, 2, 3, 4, 5, 6, 7, 8, 2, 3, 4, 5, 6, np.nan]]), freq=DAILY)
    forecast = seasonal_naive(weekly, ForecastTask(9, (0.1, 0.5, 0.9)))
    assert forecast.mean.tolist() == [[8.0, 2, 3, 4, 5, 6, 7, 8, 2]]  # a gap: the season before
    np.testing.assert_array_equal(forecast.quantiles[0, 1], forecast.mean[0])
    widths = forecast.quantiles[0, 2] - forecast.quantiles[0, 0]
    spread = np.sqrt(49 / 6)  # one of six changes is 7
    np.testing.assert_allclose(widths[:7], 2 * 1.2815515655446004 * spread)
    np.testing.assert_allclose(widths[7:], widths[0] * np.sqrt(2))


def test_the_naive_of_less_than_two_seasons_repeats_the_last_value():
    short = Series(np.array([[5.0, np.nan, 7.0, np.nan]]), freq=DAILY)
    assert seasonal_naive(short, ForecastTask(3, ())).mean.tolist() == [[7.0, 7.0, 7.0]]
    assert seasonal_naive(short, ForecastTask(3, ())).quantiles.shape == (1, 0, 3)
