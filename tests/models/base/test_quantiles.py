import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.core.types import Forecast
from forecast.models.base.quantiles import at_levels

OWN = (0.1, 0.5, 0.9)


def forecast_of(*values: float) -> Forecast:
    """One channel, one step."""
    quantiles = np.asarray(values, dtype=float).reshape(1, len(values), 1)
    return Forecast(mean=quantiles[:, 0], quantiles=quantiles, quantile_levels=OWN[: len(values)])


def test_levels_of_its_own_are_passed_on():
    np.testing.assert_array_equal(
        at_levels(forecast_of(1, 2, 3), OWN).quantiles[0, :, 0], [1, 2, 3]
    )


def test_levels_between_are_interpolated():
    answer = at_levels(forecast_of(1, 2, 4), (0.3, 0.5, 0.6))
    np.testing.assert_allclose(answer.quantiles[0, :, 0], [1.5, 2, 2.5])
    assert answer.quantile_levels == (0.3, 0.5, 0.6)
    assert answer.warnings == ()


def test_levels_beyond_get_the_outermost_and_a_warning():
    answer = at_levels(forecast_of(1, 2, 4), (0.01, 0.99))
    np.testing.assert_allclose(answer.quantiles[0, :, 0], [1, 4])
    assert "0.01, 0.99" in answer.warnings[0]


def test_crossing_quantiles_are_put_in_order():
    np.testing.assert_allclose(at_levels(forecast_of(3, 1, 2), OWN).quantiles[0, :, 0], [1, 2, 3])


def test_no_levels_asked_gives_none():
    assert at_levels(forecast_of(1, 2, 3), ()).quantiles.shape == (1, 0, 1)


def test_a_model_of_one_level_answers_every_level_with_it():
    answer = at_levels(forecast_of(5), (0.05, 0.1, 0.9))
    np.testing.assert_allclose(answer.quantiles[0, :, 0], [5, 5, 5])


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
    levels=st.lists(st.floats(0.001, 0.999), min_size=1, max_size=9, unique=True).map(sorted),
)
def test_answers_never_cross_and_agree_with_numpy(values, levels):
    answer = at_levels(forecast_of(*values), tuple(levels)).quantiles[0, :, 0]
    np.testing.assert_allclose(answer, np.interp(levels, OWN, sorted(values)), atol=1e-6)
    assert (np.diff(answer) >= -1e-9).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_precision_of_the_model_is_kept(dtype):
    forecast = forecast_of(1, 2, 3)
    narrow = Forecast(forecast.mean, forecast.quantiles.astype(dtype), OWN)
    assert at_levels(narrow, (0.2, 0.3)).quantiles.dtype == dtype
