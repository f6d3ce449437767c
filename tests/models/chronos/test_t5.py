from dataclasses import replace

import numpy as np
import pytest
import torch
from chronos import ChronosPipeline

from forecast.core.types import ForecastTask
from forecast.models.chronos.spec import ChronosOptions
from forecast.models.chronos.t5 import PATHS_AT_ONCE
from tests.models.chronos.walks import walk

LEVELS = (0.05, 0.5, 0.95)


@pytest.fixture(scope="module")
def library(folders):
    return ChronosPipeline.from_pretrained(folders["t5"], dtype=torch.float32)


@pytest.mark.parametrize("horizon", [1, 16, 40])
@pytest.mark.parametrize("length", [1, 2, 63, 64, 100])
def test_it_answers_as_the_authors_own_pipeline_of_the_same_seed(t5, library, length, horizon):
    series = walk(length)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        quantiles, mean = library.predict_quantiles(
            torch.tensor(series.target, dtype=torch.float32), horizon, list(LEVELS)
        )
    forecast = t5.predict([series], ForecastTask(horizon, LEVELS, seed=3))[0]
    np.testing.assert_allclose(forecast.mean[0], mean[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(forecast.quantiles[0].T, quantiles[0], rtol=1e-4, atol=1e-4)


def test_the_options_of_sampling_reach_it_as_they_reach_the_authors(t5, library):
    series = walk(50)
    settings = {"temperature": 0.7, "top_k": 9, "top_p": 0.8}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        paths = library.predict(
            torch.tensor(series.target, dtype=torch.float32), 10, num_samples=30, **settings
        )
    task = ForecastTask(10, LEVELS, num_samples=30, options=ChronosOptions(**settings))
    forecast = t5.predict([series], task)[0]
    np.testing.assert_allclose(forecast.mean[0], paths[0].mean(dim=0), rtol=1e-4, atol=1e-4)
    plain = t5.predict([series], replace(task, options=None))[0]
    assert np.abs(plain.mean - forecast.mean).max() > 1


def test_one_likeliest_value_leaves_no_spread(t5):
    task = ForecastTask(8, LEVELS, options=ChronosOptions(top_k=1))
    forecast = t5.predict([walk(50)], task)[0]
    np.testing.assert_array_equal(forecast.quantiles[:, 0], forecast.quantiles[:, 2])


def test_another_seed_draws_other_paths(t5):
    task = ForecastTask(8, LEVELS)
    first, second = (t5.predict([walk(50)], replace(task, seed=seed))[0] for seed in (1, 2))
    assert np.abs(first.mean - second.mean).max() > 1


def test_a_draw_does_not_touch_the_random_state_of_the_process(t5):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    t5.predict([walk(50)], ForecastTask(4))
    assert torch.equal(before, torch.random.get_rng_state())


def test_more_paths_than_are_decoded_at_once_narrow_the_error_of_the_mean(t5):
    series = walk(50)
    many = 4 * PATHS_AT_ONCE + 1
    means = {
        count: [
            t5.predict([series], ForecastTask(1, (0.5,), num_samples=count, seed=seed))[0].mean
            for seed in range(8)
        ]
        for count in (4, many)
    }
    assert np.std(means[many]) < np.std(means[4]) / 2


def test_levels_of_any_kind_are_taken_from_the_paths_without_a_warning(t5):
    forecast = t5.predict([walk(50)], ForecastTask(8, (0.001, 0.333, 0.999)))[0]
    assert forecast.quantiles.shape == (1, 3, 8)
    assert forecast.warnings == ()


def test_steps_after_the_first_block_carry_a_warning(t5):
    forecast = t5.predict([walk(50)], ForecastTask(17))[0]
    assert any("after 16" in warning for warning in forecast.warnings)


def test_it_takes_one_channel_and_no_covariates(t5):
    able = t5.capabilities
    for skill in ("multivariate", "past_covariates", "future_covariates"):
        assert not getattr(able, skill)
    assert (able.max_context, able.max_horizon) == (64, 256)
