"""Series that users of other tools reported to break them get the right answer."""

import numpy as np

from forecast.core.types import ForecastTask
from forecast.models.statistical.spec import StatisticalOptions

LEVELS = (0.1, 0.5, 0.9)


def answer(model, series, horizon, method="auto"):
    task = ForecastTask(horizon, LEVELS, options=StatisticalOptions(model=method))
    return model.predict([series], task)[0]


def test_a_week_that_repeats_exactly_goes_on(model, series_of):
    """From sktime#7969: nothing is left for complex smoothing to fit."""
    week = [3.0, 5.0, 2.0, 8.0, 9.0, 14.0, 6.0]
    forecast = answer(model, series_of(week * 6, freq="D"), 7, "auto_ces")
    np.testing.assert_allclose(forecast.mean[0], week, rtol=0.02)


def test_a_short_counter_at_a_high_level_has_quantiles_that_spread(model, series_of):
    """From orange2#57."""
    counter = 1.7e9 + np.array([3.0, 5, 4, 6, 8, 7, 9, 11])
    forecast = answer(model, series_of(counter, freq="D"), 3)
    lower, upper = forecast.quantiles[0, 0], forecast.quantiles[0, 2]
    assert (upper - lower > 0.5).all()
    assert (upper - lower < 100).all()
    assert (lower <= forecast.mean[0]).all()
    assert (forecast.mean[0] <= upper).all()


def test_short_spiky_months_do_not_explode(model, series_of):
    """From statsforecast#467: AutoETS went to millions."""
    years = [
        *(9.0, 15, 8, 41, 95, 250, 36, 11, 19, 12, 23, 58),
        *(20.0, 33, 17, 26, 71, 199, 58, 29, 42, 12, 25, 14),
        *(37.0, 44, 24, 47, 80, 280, 63, 21),
    ]
    forecast = answer(model, series_of(years, freq="ME"), 3, "auto_ets")
    assert (forecast.mean > -600).all()
    assert (forecast.mean < 600).all()
    assert np.isfinite(forecast.quantiles).all()


def test_hours_at_a_level_of_1e9_keep_their_noise(model, series_of):
    """From statsforecast#865: in float32 a noise of 3 is lost beside 1e9."""
    hours = np.arange(24 * 14)
    noise = np.random.default_rng(1).normal(0, 2.8, len(hours))
    load = 10 - 10 * np.cos(2 * np.pi * (hours - 4) / 24) + noise
    low, high = (answer(model, series_of(load + level, freq="h"), 24) for level in (0.0, 1e9))
    width = high.quantiles[0, 2] - high.quantiles[0, 0]
    assert (width > 4).all()
    assert (width < 12).all()
    np.testing.assert_allclose(high.mean - 1e9, low.mean, atol=1e-3)
    np.testing.assert_allclose(width, low.quantiles[0, 2] - low.quantiles[0, 0], atol=1e-3)
