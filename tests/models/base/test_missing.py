"""Missing values are filled from the observed ones around them."""

import numpy as np
import pytest

from forecast.core.errors import BadData
from forecast.models.base.missing import interpolate, invented, trimmed

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
    assert trimmed(values).shape == (2, 3)
    assert trimmed(values)[1, 0] == 2.0


@pytest.mark.parametrize(("missing", "is_said"), [(2, False), (3, True), (9, True)])
def test_a_fifth_of_invented_values_is_said(missing, is_said):
    values = np.arange(12.0)[None]
    values[0, :2] = NAN  # before the first observed step, nothing is invented
    values[0, 3 : 3 + missing] = NAN
    said = invented(values)
    assert bool(said) == is_said
    assert not said or said[0].startswith(f"{missing} of 10 past values")
