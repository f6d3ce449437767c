from dataclasses import replace

import numpy as np

from forecast.core.types import Series
from forecast.models.chronos.covariates import rows

TARGET = np.array([[1.0, 2.0, 4.0, np.nan]])
STANDARD = (TARGET - np.nanmean(TARGET)) / np.nanstd(TARGET)
COLOUR = np.array(["red", "blue", "red", "green"])


def coloured(target=TARGET, **future) -> Series:
    return Series(target, past_covariates={"colour": COLOUR}, future_covariates=future)


def test_a_category_becomes_the_mean_of_the_target_under_it_drawn_to_the_overall_mean():
    past, _ = rows(coloured(), 2)
    red, blue = sum(STANDARD[0, [0, 2]]) / 3, STANDARD[0, 1] / 2  # the overall mean is 0
    np.testing.assert_allclose(past[1], [red, blue, red, 0], rtol=1e-6, atol=1e-7)


def test_a_category_never_seen_becomes_the_overall_mean():
    _, future = rows(coloured(colour=np.array(["purple", "blue", "zinc"])), 3)
    np.testing.assert_allclose(future[1], [0, STANDARD[0, 1] / 2, 0], rtol=1e-6, atol=1e-7)


def test_beside_several_channels_a_category_becomes_its_place_and_a_new_one_unknown():
    target = np.vstack([TARGET, TARGET])
    past, future = rows(coloured(target, colour=np.array(["zinc", "green"])), 2)
    np.testing.assert_array_equal(past[2], [2, 0, 2, 1])
    np.testing.assert_array_equal(future[2], [np.nan, 1])


def test_channels_come_first_then_what_is_past_only_then_what_is_known():
    series = replace(
        coloured(a=np.array([5.0, 6.0])),
        past_covariates={"a": np.arange(4.0), "b": np.arange(4.0) + 10},
    )
    past, future = rows(series, 2)
    ramp = (np.arange(4.0) - 1.5) / np.arange(4).std()
    np.testing.assert_allclose(past, [*STANDARD, ramp, ramp], rtol=1e-6)
    known = (np.array([5, 6]) - 1.5) / np.arange(4).std()
    np.testing.assert_allclose(future, [[np.nan] * 2, [np.nan] * 2, known], rtol=1e-6)


def test_categories_longer_than_any_of_the_past_are_not_cut_to_fit():
    _, future = rows(coloured(colour=np.array(["redwood", "red"])), 2)
    assert future[1][0] != future[1][1]
