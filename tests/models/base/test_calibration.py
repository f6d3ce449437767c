from statistics import NormalDist

import numpy as np
import pytest

from forecast.models.base.calibration import (
    calibrated,
    conformal_offsets,
    conformal_radii,
    scale_of,
)

LEVELS = (0.05, 0.1, 0.5, 0.9, 0.95)


def test_the_radius_is_the_error_of_the_conformal_rank():
    radii = conformal_radii(np.array([-3.0, 1.0, np.nan, 2.0, -4.0]), np.array([0, 0.2, 0.5, 0.8]))
    np.testing.assert_array_equal(radii, [0, 1, 3, 4])  # ranks 0, 1, 3 and 4 of 4


def test_beyond_the_largest_error_the_radius_is_gaussian_and_never_smaller():
    errors = np.array([1.0, -1.0])
    wide = conformal_radii(errors, np.array([0.7, 0.99]))
    assert wide[0] == pytest.approx(NormalDist().inv_cdf(0.85))
    assert wide[1] == pytest.approx(NormalDist().inv_cdf(0.995))
    assert conformal_radii(np.array([5.0, 0.0]), np.array([0.7]))[0] == 5.0


def test_without_errors_the_radius_is_zero():
    np.testing.assert_array_equal(conformal_radii(np.full((2, 3), np.nan), np.array([0.5])), 0)


def test_the_median_is_the_point_forecast_and_quantiles_are_in_order():
    point = np.array([[1.0, 2.0]])
    radii = np.array([[[4.0, 4.0], [3.0, 3.0], [0.0, 0.0], [3.0, 3.0], [4.0, 4.0]]])
    forecast = calibrated(point, radii, LEVELS)
    np.testing.assert_array_equal(forecast.mean, point)
    np.testing.assert_array_equal(forecast.quantiles[0, :, 0], [-3, -2, 1, 4, 5])


def test_the_scale_is_that_of_what_is_observed():
    context = np.array([[1.0, np.nan, 3.0], [np.nan] * 3, [2.0, 2.0, np.nan]])
    np.testing.assert_array_equal(scale_of(context), [1.0, 0.0, 0.0])


def test_offsets_are_those_of_each_side_and_mirror_when_the_errors_do() -> None:
    errors = np.random.default_rng(0).exponential(1.0, 99) - 0.5
    levels = (0.1, 0.5, 0.9)

    offsets = conformal_offsets(errors, levels)

    assert offsets[2] == np.sort(errors)[89]  # ⌈100 · 0.9⌉-th of 99
    assert offsets[1] == 0
    assert offsets[0] == np.sort(errors)[9]
    np.testing.assert_array_equal(conformal_offsets(-errors, levels), -offsets[::-1])


def test_offsets_beyond_the_outermost_error_are_gaussian_and_contain_the_point() -> None:
    few = np.array([1.0, 1.0, 1.0])

    low, high = conformal_offsets(few, (0.1, 0.9))

    assert low == pytest.approx(-1.2816, abs=1e-4)
    assert high == pytest.approx(1.2816, abs=1e-4)
    np.testing.assert_array_equal(conformal_offsets(np.array([np.nan]), (0.1, 0.9)), [0, 0])
