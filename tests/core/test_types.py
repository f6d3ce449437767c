import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from forecast.core.frequency import Frequency
from forecast.core.types import Forecast, ForecastTask, Series, is_categorical


def series(**changes):
    given = {
        "target": np.arange(12, dtype=float).reshape(2, 6),
        "item_id": "a",
        "channels": ("x", "y"),
        "start": np.datetime64("2026-01-01", "s"),
        "freq": Frequency.parse("D"),
        "past_covariates": {"promo": np.arange(6.0), "day": np.array(list("abcdef"))},
        "future_covariates": {"promo": np.array([6.0, 7.0])},
        "static_covariates": {"region": "north"},
    }
    return Series(**(given | changes))


def test_a_series_knows_its_sizes_and_times():
    one = series()
    assert (one.length, one.num_channels, one.season_length) == (6, 2, 7)
    assert str(one.past_timestamps[0]) == "2026-01-01T00:00:00"
    assert str(one.past_timestamps[-1]) == "2026-01-06T00:00:00"
    assert [str(time) for time in one.future_timestamps(2)] == [
        "2026-01-07T00:00:00",
        "2026-01-08T00:00:00",
    ]


@pytest.mark.parametrize("absent", [{"start": None}, {"freq": None}])
def test_a_series_without_time_has_no_timestamps(absent):
    one = series(**absent)
    assert one.past_timestamps is None
    assert one.future_timestamps(3) is None
    assert one.last(2).start is absent.get("start", one.start)


def test_a_series_without_frequency_has_no_season():
    assert series(freq=None).season_length == 1


@pytest.mark.parametrize("alias", ["D", "h", "MS", "W-THU", "B", "QS-JAN"])
def test_the_last_steps_keep_their_times_and_covariates(alias):
    one = series(freq=Frequency.parse(alias))
    cut = one.last(4)
    np.testing.assert_array_equal(cut.target, one.target[:, 2:])
    np.testing.assert_array_equal(cut.past_timestamps, one.past_timestamps[2:])
    np.testing.assert_array_equal(cut.future_timestamps(3), one.future_timestamps(3))
    np.testing.assert_array_equal(cut.past_covariates["promo"], [2, 3, 4, 5])
    assert cut.past_covariates["day"].tolist() == list("cdef")
    np.testing.assert_array_equal(cut.future_covariates["promo"], [6, 7])
    assert (cut.static_covariates, cut.item_id, cut.channels) == (
        {"region": "north"}, "a", ("x", "y"),
    )  # fmt: skip


@pytest.mark.parametrize("steps", [6, 7, 1000])
def test_more_steps_than_there_are_change_nothing(steps):
    one = series()
    assert one.last(steps) is one


def test_cutting_leaves_the_whole_as_it_was():
    one = series()
    one.last(2)
    assert one.length == 6
    assert len(one.past_covariates["promo"]) == 6


def test_series_of_one_layout_have_equal_channels_and_covariates():
    one = series()
    assert one.layout == series(target=np.zeros((2, 3)), item_id="b").layout
    assert hash(one.layout) is not None
    numeric = {"promo": np.arange(6.0), "day": np.arange(6.0)}
    for other in (
        series(target=np.zeros((1, 6))),
        series(past_covariates=numeric),
        series(past_covariates={}),
        series(future_covariates={}),
        series(static_covariates={}),
    ):
        assert other.layout != one.layout


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([1.0, math.nan]), False),
        (np.array([1, 2]), False),
        (np.array(["a", ""]), True),
        (np.array(["a", None], dtype=object), True),
    ],
)
def test_text_is_categorical_and_numbers_are_not(values, expected):
    assert is_categorical(values) is expected


def test_equal_tasks_are_equal_and_hashable():
    one = ForecastTask(3, (0.1, 0.9), seed=7)
    assert one == ForecastTask(3, (0.1, 0.9), seed=7)
    assert hash(one) == hash(ForecastTask(3, (0.1, 0.9), seed=7))
    assert one != ForecastTask(4, (0.1, 0.9), seed=7)


def test_the_first_steps_of_a_forecast_are_cut_from_all_of_it():
    forecast = Forecast(
        np.arange(5.0)[None], np.arange(10.0).reshape(1, 2, 5), (0.1, 0.9), ("careful",)
    )
    cut = forecast.first(2)
    np.testing.assert_array_equal(cut.mean, [[0, 1]])
    np.testing.assert_array_equal(cut.quantiles, [[[0, 1], [5, 6]]])
    assert (cut.quantile_levels, cut.warnings) == ((0.1, 0.9), ("careful",))
    assert forecast.first(5) is forecast


def test_a_series_is_not_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        series().item_id = "b"
