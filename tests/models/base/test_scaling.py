"""Missing values are filled from the observed ones around them."""

import numpy as np
import pytest
import torch

from forecast.core.errors import BadData
from forecast.models.base.scaling import (
    Scaler,
    fill_warnings,
    interpolate,
    standardize,
    without_leading_gap,
)

ROWS = np.array([[1.0, np.nan, 3.0, 5.0], [2.0, 2.5, 2.25, np.nan]])


def test_a_row_is_measured_by_what_is_observed_of_it():
    scaler = Scaler.of(np.array([[1.0, np.nan, 3.0], [1e15, 1e15, 1e15], [np.nan] * 3]))
    np.testing.assert_array_equal(scaler.center, [[2.0], [1e15], [0.0]])
    np.testing.assert_array_equal(scaler.scale, [[1.0], [0.0], [0.0]])


@pytest.mark.parametrize("unit", [1e-300, 1e-9, 1.0, 1e9, 1e150])
def test_standardised_values_do_not_depend_on_the_unit(unit):
    standard, scaler = standardize(unit * ROWS)
    np.testing.assert_allclose(standard, standardize(ROWS)[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scaler.restore(standard), unit * ROWS, rtol=1e-12)


@pytest.mark.parametrize("unit", [1e-200, 1e-7, 1.0, 1e100])
def test_a_row_that_differs_by_rounding_is_flat_in_any_unit(unit):
    level = unit * (0.1 + np.array([[0.0, 1e-17, -1e-17, 1e-16]]))
    assert Scaler.of(level).scale.item() == 0
    assert Scaler.of(unit * np.array([[0.1, 0.1 + 1e-9]])).scale.item() > 0


def test_a_flat_row_moves_to_nought_and_its_forecast_is_its_level():
    standard, scaler = standardize(np.full((1, 4), 7.0))
    np.testing.assert_array_equal(standard, 0.0)
    np.testing.assert_array_equal(scaler.restore(np.array([[0.3, -2.0]])), 7.0)


def test_tensors_are_measured_as_arrays_are():
    observed = ~np.isnan(ROWS)
    values = torch.from_numpy(np.nan_to_num(ROWS, nan=99.0)).float()
    standard, scaler = standardize(values, torch.from_numpy(observed))
    expected, of_array = standardize(ROWS)
    assert standard.dtype == torch.float64
    np.testing.assert_array_equal(scaler.center, of_array.center)
    np.testing.assert_array_equal(scaler.scale, of_array.scale)
    np.testing.assert_array_equal(standard[observed], expected[observed])


def test_quantiles_are_restored_like_the_mean():
    scaler = Scaler.of(ROWS)
    mean = np.array([[0.5, 1.0, 2.0], [0.0, -1.0, 3.0]], dtype=np.float32)  # [C, H]
    quantiles = scaler.restore(np.stack([mean, mean], axis=1))  # [C, Q, H]
    np.testing.assert_array_equal(quantiles[:, 1], scaler.restore(mean))
    assert quantiles.dtype == np.float64


NAN = np.nan


def test_a_gap_is_filled_on_the_straight_line_between_its_neighbours():
    assert interpolate(np.array([[1.0, NAN, NAN, 4.0]])).tolist() == [[1.0, 2.0, 3.0, 4.0]]


def test_the_ends_take_the_nearest_observed_value():
    assert interpolate(np.array([[NAN, NAN, 2.0, 5.0, NAN]])).tolist() == [[2, 2, 2, 5, 5]]


def test_each_channel_is_filled_on_its_own():
    filled = interpolate(np.array([[1.0, NAN, 3.0], [NAN, 7.0, NAN]]))
    assert filled.tolist() == [[1, 2, 3], [7, 7, 7]]


def test_a_covariate_without_channels_is_filled_too():
    assert interpolate(np.array([NAN, 1.0, NAN, 3.0])).tolist() == [1, 1, 2, 3]


def test_whole_values_come_back_as_they_are():
    values = np.arange(6.0).reshape(2, 3)
    assert interpolate(values) is values


def test_the_input_is_left_untouched_and_the_dtype_kept():
    values = np.array([[1.0, NAN, 3.0]], dtype=np.float32)
    values.flags.writeable = False
    filled = interpolate(values)
    assert filled.dtype == np.float32
    assert np.isnan(values[0, 1])


def test_a_channel_without_any_value_is_bad_data():
    with pytest.raises(BadData, match="context_length"):
        interpolate(np.array([[1.0, 2.0], [NAN, NAN]]))


def test_leading_steps_without_any_channel_are_dropped():
    values = np.array([[NAN, NAN, 1.0, NAN], [NAN, 2.0, NAN, NAN]])
    assert without_leading_gap(values).shape == (2, 3)
    assert without_leading_gap(values)[1, 0] == 2.0


@pytest.mark.parametrize(("missing", "is_said"), [(2, False), (3, True), (9, True)])
def test_a_fifth_of_invented_values_is_said(missing, is_said):
    values = np.arange(12.0)[None]
    values[0, :2] = NAN  # before the first observed step, nothing is fill_warnings
    values[0, 3 : 3 + missing] = NAN
    said = fill_warnings(values)
    assert bool(said) == is_said
    assert not said or said[0].startswith(f"{missing} of 10 past values")
