import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from forecast.core.errors import InvalidRequest
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.models.ttm.library import _logging_untouched
from forecast.models.ttm.model import TTMModel
from forecast.models.ttm.network import FREQUENCY_TOKENS
from forecast.models.ttm.tiny import write_tiny
from tests.models.ttm.waves import wave

DECILES = tuple(level / 10 for level in range(1, 10))
TASK = ForecastTask(horizon=16, quantile_levels=DECILES)
POINTS = ForecastTask(horizon=16, quantile_levels=())
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def call(model: TTMModel, target: np.ndarray, observed: np.ndarray | None = None):
    """The library's own call on a series [C, T]: mean [C, H] and quantiles [C, Q, H]."""
    past = torch.from_numpy(target.T[None].astype(np.float32))
    mask = torch.from_numpy(observed.T[None]) if observed is not None else torch.ones_like(past)
    with torch.no_grad():
        answer = model.network(past_values=past, past_observed_mask=mask)
    mean = answer.prediction_outputs[0].T.numpy()
    if answer.quantile_outputs is None:
        return mean, None
    return mean, answer.quantile_outputs[0].permute(2, 0, 1).numpy()


def test_it_forecasts_as_the_library_does(model):
    series = wave(32)
    mean, quantiles = call(model, series.target)
    forecast = model.predict([series], TASK)[0]
    np.testing.assert_allclose(forecast.mean, mean, **CLOSE)
    if quantiles is not None:
        np.testing.assert_allclose(forecast.quantiles, quantiles, **CLOSE)


def test_a_short_series_is_padded_with_what_the_library_is_told_to_ignore(model):
    series = wave(20)
    centred = np.zeros((1, 32))
    centred[:, 12:] = series.target - series.target.mean()
    observed = np.arange(32)[None] >= 12
    mean, _ = call(model, centred, observed)
    forecast = model.predict([series], POINTS)[0]
    np.testing.assert_allclose(forecast.mean, mean + series.target.mean(), **CLOSE)


def test_what_is_missing_does_not_count_in_the_scale(model):
    series = wave(32)
    target = series.target.copy()
    target[:, 10:14] = np.nan
    filled = np.where(np.isnan(target), target[:, 9:10], target)
    mean, _ = call(model, filled, ~np.isnan(target))
    forecast = model.predict([replace(series, target=target)], POINTS)[0]
    np.testing.assert_allclose(forecast.mean, mean, **CLOSE)


def test_each_channel_is_forecast_on_its_own(model):
    one, other = wave(40), wave(40, phase=1)
    both = replace(one, target=np.concatenate([one.target, 3 * other.target]), channels=("a", "b"))
    forecast = model.predict([both], TASK)[0]
    apart = model.predict([one, replace(other, target=3 * other.target)], TASK)
    np.testing.assert_allclose(forecast.mean, np.concatenate([x.mean for x in apart]), **CLOSE)
    np.testing.assert_allclose(
        forecast.quantiles, np.concatenate([x.quantiles for x in apart]), **CLOSE
    )


def test_beyond_its_block_it_goes_on_from_its_own_forecast(model):
    series = wave(40)
    long = model.predict([series], replace(POINTS, horizon=30))[0]
    first, _ = call(model, series.target[:, -32:])
    second, _ = call(model, np.concatenate([series.target[:, -16:], first], axis=1))
    np.testing.assert_allclose(long.mean, np.concatenate([first, second[:, :14]], axis=1), **CLOSE)


def test_quantiles_widen_beyond_the_block_and_the_answer_says_so(model):
    long = model.predict([wave(64)], replace(TASK, horizon=33))[0]
    width = long.quantiles[0, -1] - long.quantiles[0, 0]
    assert width[16] > width[15] * 0.99
    assert width[32] > width[31] * 0.99
    assert any("after 16" in warning for warning in long.warnings)
    assert model.predict([wave(64)], TASK)[0].warnings == ()


def test_each_kind_says_where_its_quantiles_come_from(models):
    assert {kind: model.capabilities.quantiles for kind, model in models.items()} == {
        "r2": "calibrated",
        "r3": "native",
        "r3-dec": "native",
    }
    assert models["r2"].capabilities.max_context == 64  # the second half tries the first
    assert models["r3"].capabilities.max_context == 32


def test_levels_between_the_models_own_are_interpolated(models):
    own = models["r3"].predict([wave(32)], TASK)[0].quantiles
    between = models["r3"].predict([wave(32)], replace(TASK, quantile_levels=(0.15,)))[0].quantiles
    np.testing.assert_allclose(between[0, 0], own[0, :2].mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize("factor", [1e-9, 1e12, 1e25])
def test_the_unit_of_a_series_does_not_matter(model, factor):
    series = wave(40)
    scaled = replace(series, target=series.target * factor)
    one, other = model.predict([series], TASK)[0], model.predict([scaled], TASK)[0]
    np.testing.assert_allclose(other.mean / factor, one.mean, **CLOSE)
    np.testing.assert_allclose(other.quantiles / factor, one.quantiles, rtol=1e-3, atol=1e-3)


def test_a_high_level_does_not_drown_what_moves(model):
    series = wave(40)
    high = replace(series, target=series.target + 1e9)
    one, other = model.predict([series], TASK)[0], model.predict([high], TASK)[0]
    np.testing.assert_allclose(other.mean - 1e9, one.mean, atol=1e-3)


def test_frequencies_are_numbered_as_the_authors_do():
    with _logging_untouched():
        from tsfm_public.toolkit.time_series_preprocessor import DEFAULT_FREQUENCY_MAPPING
    old_spellings = {"H", "d", "oov"}
    known = {k: v for k, v in DEFAULT_FREQUENCY_MAPPING.items() if k not in old_spellings}
    assert known == FREQUENCY_TOKENS


def test_a_checkpoint_that_reads_the_frequency_is_told_it(tmp_path):
    write_tiny(tmp_path, resolution_prefix_tuning=True, frequency_token_vocab_size=10)
    model = TTMModel.load_model(tmp_path, device="cpu")
    series = wave(32)
    batch = [replace(series, freq=Frequency.parse(freq)) for freq in ("D", "h", "W", "MS")]
    asked = [*batch, replace(series, start=None, freq=None)]
    means = [one.mean for one in model.predict(asked, POINTS)]
    past = torch.from_numpy(series.target.T[None].astype(np.float32))
    for mean, token in zip(means, (8, 7, 9, 0, 0), strict=True):
        answer = model.network(past_values=past, freq_token=torch.tensor([token]))
        np.testing.assert_allclose(
            mean, answer.prediction_outputs[0].T.detach().numpy(), rtol=1e-4, atol=1e-4
        )
    assert not np.allclose(means[0], means[1])


def test_a_checkpoint_that_mixes_channels_takes_as_many_as_it_was_trained_on(tmp_path):
    write_tiny(tmp_path, decoder_mode="mix_channel", num_input_channels=2)
    model = TTMModel.load_model(tmp_path, device="cpu")
    target = np.concatenate([wave(32).target, wave(32, phase=1).target])
    forecast = model.predict([Series(target=target)], POINTS)[0]
    np.testing.assert_allclose(forecast.mean, call(model, target)[0], **CLOSE)
    with pytest.raises(InvalidRequest, match="trained on 2 together"):
        model.predict([wave(32)], POINTS)


def test_importing_the_library_leaves_the_root_logger_alone():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        with _logging_untouched():
            logging.basicConfig(level=logging.INFO)
            assert root.handlers
        assert root.handlers == []
        assert root.level == level
    finally:
        root.handlers[:] = handlers
