"""MOMENT forecasts what its authors' own code does, with quantiles from its past errors."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("momentfm", reason="its own environment has it: ./setup.sh env moment")

from forecast.core.errors import InvalidRequest
from forecast.core.types import ForecastTask
from forecast.serving.batching import Batcher

TOLERANCE = {"rtol": 1e-3, "atol": 1e-3}


def in_the_library(model, series, **more):
    """Left-pad a series with its mean to the 64 steps of the network, in its own units."""
    lacking = 64 - series.length
    padded = np.pad(series.target, ((0, 0), (lacking, 0)), constant_values=series.target.mean())
    mask = torch.ones(1, 64, dtype=torch.long)
    mask[:, :lacking] = 0
    return {"x_enc": torch.tensor(padded[None], dtype=torch.float32), "input_mask": mask} | more


@pytest.mark.parametrize("steps", [64, 40, 21, 8])
@pytest.mark.parametrize("horizon", [1, 8, 13, 30])
def test_zero_shot_it_fills_in_what_the_librarys_own_call_does(
    published, series_of, steps, horizon
):
    series = series_of(steps)
    call = in_the_library(published, series, forecast_horizon=horizon)
    with torch.no_grad():
        expected = published.network.short_forecast(**call).forecast[0].numpy()
    (forecast,) = published.predict([series], ForecastTask(horizon, ()))
    np.testing.assert_allclose(forecast.mean, expected, **TOLERANCE)


@pytest.mark.parametrize("steps", [64, 40, 21, 8])
def test_a_trained_head_forecasts_what_the_librarys_own_call_does(tuned, series_of, steps):
    series = series_of(steps)
    with torch.no_grad():
        expected = tuned.network(**in_the_library(tuned, series)).forecast[0].numpy()
    (forecast,) = tuned.predict([series], ForecastTask(16, ()))
    np.testing.assert_allclose(forecast.mean, expected, **TOLERANCE)


def test_what_the_network_keeps_of_a_call_is_no_danger_behind_the_queue(published, series_of):
    """Its normalisation writes the mean and scale of a call on itself; 22 of 48 calls of the

    bare network from four threads come out wrong. The queue lets one thread in.
    """
    task = ForecastTask(8, ())
    batch = [series_of(40 + i, seed=i, level=10.0**i) for i in range(8)]
    alone = [published.predict([series], task)[0].mean for series in batch]
    batcher = Batcher(
        lambda key, some: published.predict(some, key.task),
        max_batch=2,
        max_queue=64,
        name="moment",
    )

    def ask(series):
        key = published.batch_key(series, task)
        return batcher.submit([key], [series], timeout_s=30).result(30).results[0].mean

    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(ask, batch))
    batcher.close(drain_s=5)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


@pytest.mark.parametrize("kind", ["published", "tuned"])
def test_quantiles_hold_the_errors_it_made_on_the_past(kind, series_of, request):
    model = request.getfixturevalue(kind)
    calm = series_of(64)
    wild = replace(calm, target=calm.target + 40 * np.sin(np.arange(64) ** 2))
    task = ForecastTask(8, (0.1, 0.5, 0.9))
    widths = []
    for series in (calm, wild):
        (forecast,) = model.predict([series], task)
        np.testing.assert_allclose(forecast.quantiles[:, 1], forecast.mean)
        widths.append((forecast.quantiles[:, 2] - forecast.quantiles[:, 0]).mean())
    assert widths[1] > 2 * widths[0] > 0


@pytest.mark.parametrize("kind", ["published", "tuned"])
def test_channels_are_forecast_each_for_itself(kind, series_of, request):
    model = request.getfixturevalue(kind)
    one, other = series_of(seed=1), series_of(seed=2, level=-3)
    both = replace(one, target=np.vstack([one.target, other.target]), channels=("a", "b"))
    task = ForecastTask(10, (0.2, 0.8))
    (together,) = model.predict([both], task)
    alone = model.predict([one, other], task)
    for channel, forecast in enumerate(alone):
        np.testing.assert_allclose(together.mean[channel], forecast.mean[0], rtol=1e-4)
        np.testing.assert_allclose(together.quantiles[channel], forecast.quantiles[0], rtol=1e-4)


@pytest.mark.parametrize("kind", ["published", "tuned"])
@pytest.mark.parametrize(("unit", "level"), [(1e-9, 0.0), (4.5e7, 0.0), (1.0, 1.7e9)])
def test_a_forecast_moves_and_stretches_with_its_series(kind, unit, level, series_of, request):
    model = request.getfixturevalue(kind)
    series = series_of(40)
    task = ForecastTask(8, (0.1, 0.9))
    (one,) = model.predict([series], task)
    (other,) = model.predict([replace(series, target=series.target * unit + level)], task)
    np.testing.assert_allclose((other.quantiles - level) / unit, one.quantiles, atol=1e-3)


def test_fewer_steps_than_a_patch_are_refused(published, series_of):
    with pytest.raises(InvalidRequest, match="at least 8"):
        published.predict([series_of(7)], ForecastTask(3))


def test_half_of_what_it_reads_is_the_most_it_fills_in(published, series_of):
    assert published.predict([series_of()], ForecastTask(32, ()))[0].mean.shape == (1, 32)
    with pytest.raises(InvalidRequest, match="32"):
        published.predict([series_of()], ForecastTask(33, ()))


def test_a_horizon_for_which_it_was_not_made_is_answered_with_a_warning(tmp_path, series_of):
    from forecast.models.moment.checkpoint import save_network
    from forecast.models.moment.model import MomentModel
    from forecast.models.moment.network import build
    from forecast.models.moment.tiny import config_of

    config = config_of(seq_len=256)
    save_network(build(config), config, tmp_path)
    model = MomentModel.load_model(tmp_path, device="cpu")
    (short,) = model.predict([series_of(200)], ForecastTask(64, ()))
    (long,) = model.predict([series_of(200)], ForecastTask(65, ()))
    assert short.warnings == ()
    assert "fine-tune" in long.warnings[0]
