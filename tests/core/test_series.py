from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.core.errors import InvalidRequest
from forecast.core.frequency import Frequency
from forecast.core.times import day_end
from forecast.core.types import Series

LENGTH, AHEAD = 20, 5
START = np.datetime64("2020-01-01T00:00:00")


def series(seed=0, freq="D"):
    values = np.random.default_rng(seed).normal(size=(2, LENGTH))
    return Series(
        target=values,
        item_id="a",
        channels=("x", "y"),
        start=START,
        freq=Frequency.parse(freq),
        past_covariates={"known": np.arange(LENGTH) * 1.0, "seen": values[0]},
        future_covariates={"known": np.arange(LENGTH, LENGTH + AHEAD) * 1.0},
        static_covariates={"kind": "shop"},
    )


def changed_after(one, kept, value):
    """The same series up to a step, and something else after it."""
    target = one.target.copy()
    target[:, kept:] = value
    past = {name: values.copy() for name, values in one.past_covariates.items()}
    past["seen"][kept:] = value
    past["known"][kept:] = value
    future = {name: np.full_like(values, value) for name, values in one.future_covariates.items()}
    return replace(one, target=target, past_covariates=past, future_covariates=future)


def same(one, other):
    assert np.array_equal(one.target, other.target)
    for kind in ("past_covariates", "future_covariates"):
        first, second = getattr(one, kind), getattr(other, kind)
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[name], second[name]) for name in first)


@given(kept=st.integers(1, LENGTH), value=st.floats(allow_nan=True))
def test_nothing_after_the_cutoff_has_any_part_in_what_is_left(kept, value):
    cutoff = START + np.timedelta64(kept, "D") + np.timedelta64(3600, "s")
    one = series().until(cutoff)
    same(one, changed_after(series(), kept, value).until(cutoff))
    assert one.length == kept == series().steps_until(cutoff)
    assert one.past_timestamps[-1] <= cutoff
    assert one.future_covariates["known"].size == 0


@given(kept=st.integers(1, LENGTH), horizon=st.integers(1, LENGTH + AHEAD))
def test_what_is_known_ahead_is_kept_for_so_many_steps_and_nothing_else(kept, horizon):
    one = series().until(kept, horizon)
    known = np.concatenate([one.past_covariates["known"], one.future_covariates["known"]])
    assert np.array_equal(known, np.arange(known.size))
    assert np.array_equal(one.target, series().target[:, :kept])
    assert known.size == min(kept + horizon, LENGTH + AHEAD)
    assert one.past_covariates["seen"].size == kept


def test_a_step_is_known_with_the_last_second_of_its_period():
    last = day_end(date(2020, 1, 10))
    assert series().steps_until(last) == 10
    assert series().steps_until(last - np.timedelta64(1, "s")) == 9
    assert replace(series(), label="instant").steps_until(last) == 10
    assert replace(series(), label="instant").steps_until(np.datetime64("2020-01-10")) == 10
    assert series(freq="h").steps_until(day_end(date(2020, 1, 1))) == LENGTH


def test_nothing_is_left_of_a_series_that_begins_after_the_cutoff():
    late = replace(series(), start=START + np.timedelta64(365, "D"))
    assert late.until(day_end(date(2020, 1, 10))).length == 0


def test_a_series_without_times_cannot_be_cut():
    with pytest.raises(InvalidRequest, match=r"'a' has no times.*2020-01-10"):
        replace(series(), start=None, freq=None).until(day_end(date(2020, 1, 10)))


@pytest.mark.parametrize(
    ("alias", "seasons"),
    [
        ("h", (24, 168)),
        ("15min", (96, 672)),
        ("12h", (2, 14)),
        ("MS", (12,)),
        ("D", (7,)),
        ("YE", ()),
        ("10s", (360,)),
    ],
)
def test_below_a_day_there_is_a_week_too(alias, seasons):
    series = Series(np.zeros((1, 3)), freq=Frequency.parse(alias))
    assert series.seasons == seasons


def test_without_a_frequency_there_is_no_season():
    assert Series(np.zeros((1, 3))).seasons == ()
