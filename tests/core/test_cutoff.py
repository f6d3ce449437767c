from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.core.cutoff import cut, cut_all, end_of, first_steps, steps_until
from forecast.core.errors import InvalidRequest
from forecast.core.frequency import Frequency
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
    cutoff = START + np.timedelta64(kept - 1, "D") + np.timedelta64(3600, "s")
    one = cut(series(), cutoff)
    same(one, cut(changed_after(series(), kept, value), cutoff))
    assert one.length == kept == steps_until(series(), cutoff)
    assert one.past_timestamps[-1] <= cutoff
    assert one.future_covariates["known"].size == 0


@given(kept=st.integers(1, LENGTH), horizon=st.integers(1, LENGTH + AHEAD))
def test_what_is_known_ahead_is_kept_for_so_many_steps_and_nothing_else(kept, horizon):
    one = first_steps(series(), kept, horizon=horizon)
    known = np.concatenate([one.past_covariates["known"], one.future_covariates["known"]])
    assert np.array_equal(known, np.arange(known.size))
    assert np.array_equal(one.target, series().target[:, :kept])
    if kept < LENGTH:
        assert known.size == min(kept + horizon, LENGTH + AHEAD)
        assert one.past_covariates["seen"].size == kept


def test_a_step_at_the_cutoff_is_kept_and_one_a_second_later_is_not():
    tenth = START + np.timedelta64(9, "D")
    assert steps_until(series(), tenth) == 10
    assert steps_until(series(), tenth - np.timedelta64(1, "s")) == 9
    assert steps_until(series(), end_of(date(2020, 1, 10))) == 10
    assert steps_until(series(freq="h"), end_of(date(2020, 1, 1))) == LENGTH


def test_a_series_that_begins_after_the_cutoff_is_left_out():
    late = replace(series(), item_id="late", start=START + np.timedelta64(365, "D"))
    cutoff = end_of(date(2020, 1, 10))
    assert cut(late, cutoff) is None
    assert [one.item_id for one in cut_all([late, series()], cutoff)] == ["a"]


def test_a_series_without_times_cannot_be_cut():
    with pytest.raises(InvalidRequest, match=r"'a' has no times.*2020-01-10"):
        cut(replace(series(), start=None, freq=None), end_of(date(2020, 1, 10)))
