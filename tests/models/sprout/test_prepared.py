"""The scale a series is forecast on: its own, or that of logarithms."""

import numpy as np
import pytest

from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.models.sprout.model import SproutModel
from forecast.models.sprout.prepared import prepare
from forecast.models.sprout.scaling import standardise

STEPS = np.arange(716)
DAY = np.sin(2 * np.pi * STEPS / 24)


def visits(seed=0):
    """Simulate hourly counts of visits: nights of about 10, days of thousands, quiet weekends."""
    rng = np.random.default_rng(seed)
    week = np.where(STEPS // 24 % 7 >= 5, -0.8, 0.0)
    return np.exp(5 + 2.5 * DAY + week + 0.15 * rng.standard_normal(len(STEPS)))


def noise():
    return 0.2 * np.random.default_rng(1).standard_normal(len(STEPS))


def nights_without_sun():
    return np.maximum(DAY, 0) * (1 + noise())


def is_on_log_scale(*series):
    return prepare(np.stack(series)).scale.chosen.tolist()


def test_what_varies_in_proportion_to_its_level_is_put_on_a_logarithmic_scale():
    assert is_on_log_scale(visits(), visits(1) * 1e-6 + 40) == [True, True]


@pytest.mark.parametrize(
    "values",
    [
        DAY + noise(),
        DAY,
        0.01 * STEPS,
        np.full(716, 3.0),
        nights_without_sun(),
        np.cumsum(noise()),
        np.random.default_rng(2).poisson(0.4, 716).astype(float),
    ],
    ids=["noisy season", "season", "line", "constant", "nights without sun", "walk", "rare events"],
)
def test_other_series_stay_on_their_own(values):
    assert is_on_log_scale(values) == [False]


def test_few_values_stay_on_their_own_scale():
    contexts = np.full((1, 48), np.nan)
    contexts[0, -20:] = visits()[:20]
    assert not prepare(contexts).scale.chosen.any()


def test_forecasts_come_back_from_the_scale_beyond_all_that_was_seen_too():
    contexts = np.stack([visits(), DAY, np.full(716, 3.0)])
    contexts[0, 30:60] = np.nan
    prepared = prepare(contexts)
    span = np.nanmax(contexts[0])
    values = np.tile(np.linspace(-3 * span, 3 * span, 50), (3, 1))
    back = prepared.undo(prepared.apply(values)[:, None])[:, 0]
    np.testing.assert_allclose(back[:2], values[:2], atol=1e-9 * span)
    assert (back[2] == 3).all()


def test_beyond_the_highest_value_a_forecast_grows_by_a_line_and_does_not_explode():
    values = visits()
    prepared = prepare(values[None])
    top = prepared.apply(np.array([[values.max()]]))
    far = prepared.undo(top[:, None] + 5.0)[0, 0, 0]
    assert 5 * values.max() < far < 7 * values.max()


def test_nights_are_forecast_as_well_as_days():
    """On the scale of the values an error that is small by day would be all of a night."""
    values = visits()
    truth = np.exp(5 + 2.5 * DAY + np.where(STEPS // 24 % 7 >= 5, -0.8, 0.0))[-48:]
    series = Series(values[None, :-48], np.datetime64("2024-01-01", "s"), Frequency.parse("h"))
    answer = SproutModel.tiny().predict([series], ForecastTask(48, (0.1, 0.9)))[0]
    missed = np.abs(answer.mean[0] / truth - 1)
    assert missed.mean() < 0.12
    assert missed.max() < 0.4
    assert (answer.quantiles > 0).all()


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_the_centre_is_found_beside_missing_values(count):
    rng = np.random.default_rng(count)
    values = rng.standard_normal((20, 40))
    values[:, count:] = np.nan
    values = rng.permuted(values, axis=1)
    known = standardise(values)
    np.testing.assert_allclose(known.centre, np.nanmean(values, axis=1), atol=1e-12)
    np.testing.assert_allclose(known.scale, np.nanstd(values, axis=1), atol=1e-12)
