import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from chronos import ChronosBoltPipeline

from forecast.core.types import ForecastTask
from tests.models.chronos.walks import assert_same, walk

DECILES = tuple(level / 10 for level in range(1, 10))
LENGTHS = (1, 2, 15, 16, 17, 100, 511, 512, 700)


@pytest.fixture(scope="module")
def library(folders):
    return ChronosBoltPipeline.from_pretrained(folders["bolt"], dtype=torch.float32)


@pytest.mark.parametrize("horizon", [1, 24, 64, 65, 200])
def test_it_answers_as_the_authors_own_pipeline_does(bolt, library, horizon):
    batch = [walk(length) for length in LENGTHS]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "We recommend keeping prediction length", UserWarning)
        quantiles, mean = library.predict_quantiles(
            [torch.tensor(series.target[0]) for series in batch],
            prediction_length=horizon,
            quantile_levels=list(DECILES),
        )
    forecasts = bolt.predict(batch, ForecastTask(horizon, DECILES))
    for forecast, levels, points in zip(forecasts, quantiles, mean, strict=True):
        np.testing.assert_allclose(forecast.mean[0], points, rtol=1e-5)
        ordered = np.sort(levels.numpy().T, axis=0)
        np.testing.assert_allclose(forecast.quantiles[0], ordered, rtol=1e-5)


def test_levels_between_the_models_own_are_interpolated_as_the_authors_do(bolt, library):
    levels = (0.12, 0.5, 0.77)
    series = walk(100)
    forecast = bolt.predict([series], ForecastTask(8, levels))[0]
    ours = bolt.predict([series], ForecastTask(8, DECILES))[0].quantiles[0]
    expected = [np.interp(levels, DECILES, column) for column in ours.T]
    np.testing.assert_allclose(forecast.quantiles[0].T, expected, rtol=1e-5)
    assert forecast.warnings == ()


def test_levels_beyond_the_models_own_are_clamped_with_a_warning(bolt):
    forecast = bolt.predict([walk(100)], ForecastTask(8, (0.01, 0.1, 0.9, 0.99)))[0]
    np.testing.assert_array_equal(forecast.quantiles[:, 0], forecast.quantiles[:, 1])
    np.testing.assert_array_equal(forecast.quantiles[:, 3], forecast.quantiles[:, 2])
    assert any("0.01, 0.99 lie beyond" in warning for warning in forecast.warnings)


@pytest.mark.parametrize("horizon", [1, 63, 64, 65, 130])
def test_the_first_steps_do_not_depend_on_the_horizon_asked(bolt, horizon):
    series = walk(300)
    shared = bolt.shared_horizon(horizon)
    assert shared % 64 == 0
    long = bolt.predict([series], ForecastTask(shared, DECILES))[0]
    assert_same(long.first(horizon), bolt.predict([series], ForecastTask(horizon, DECILES))[0])


def test_horizons_within_a_block_share_a_call(bolt):
    series, task = walk(40), ForecastTask(horizon=7)
    assert bolt.batch_key(series, task) == bolt.batch_key(series, replace(task, horizon=64))
    assert bolt.batch_key(series, task) != bolt.batch_key(series, replace(task, horizon=65))


def test_steps_after_the_first_block_carry_a_warning(bolt):
    series = walk(40)
    assert bolt.predict([series], ForecastTask(64))[0].warnings == ()
    long = bolt.predict([series], ForecastTask(65))[0]
    assert any("after 64" in warning for warning in long.warnings)


def test_it_takes_one_channel_and_no_covariates(bolt):
    able = bolt.capabilities
    for skill in ("multivariate", "past_covariates", "future_covariates"):
        assert not getattr(able, skill)
    assert (able.max_context, able.max_horizon) == (512, 1024)


def test_a_history_longer_than_the_context_is_cut(bolt):
    long = walk(700)
    task = ForecastTask(12)
    assert_same(bolt.predict([long], task)[0], bolt.predict([long.last(512)], task)[0])
