"""Moirai forecasts what its authors' own code does, whatever company a series has."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("uni2ts", reason="its own environment has it: ./setup.sh env moirai")

from forecast.core.errors import InvalidRequest, ModelNotReady
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask
from forecast.models.moirai.library import Moirai2Forecast, MoiraiForecast, MoiraiMoEForecast
from forecast.models.moirai.model import MoiraiModel
from forecast.models.moirai.samples import patch_of_frequency
from forecast.models.moirai.spec import MoiraiOptions

DECILES = tuple(level / 10 for level in range(1, 10))
STEPS, HORIZON = 64, 20
TOLERANCE = {"rtol": 1e-3, "atol": 1e-3}


@pytest.fixture(scope="module")
def moirai2():
    return MoiraiModel.tiny("moirai2")


@pytest.fixture(scope="module")
def moirai1():
    return MoiraiModel.tiny("moirai1")


@pytest.fixture(scope="module")
def experts():
    return MoiraiModel.tiny("moirai-moe")


def library_tensors(series, horizon):
    """Lay a series without gaps out for the library's forecasters, in its own units."""
    target = torch.tensor(series.target.T[None], dtype=torch.float32)
    tensors = {
        "past_target": target,
        "past_observed_target": torch.ones_like(target, dtype=torch.bool),
        "past_is_pad": torch.zeros(target.shape[:2], dtype=torch.bool),
    }
    for name, future in series.future_covariates.items():
        values = np.concatenate([series.past_covariates[name], future])
        known = torch.tensor(values[None, :, None], dtype=torch.float32)
        tensors["feat_dynamic_real"] = known
        tensors["observed_feat_dynamic_real"] = torch.ones_like(known, dtype=torch.bool)
    for name in series.past_covariates.keys() - series.future_covariates.keys():
        past = torch.tensor(series.past_covariates[name][None, :, None], dtype=torch.float32)
        tensors["past_feat_dynamic_real"] = past
        tensors["past_observed_feat_dynamic_real"] = torch.ones_like(past, dtype=torch.bool)
    return tensors


def library_answer(forecaster, model, series, horizon, **more):
    known, past = len(series.future_covariates), len(series.past_covariates)
    made = forecaster(
        module=model.network,
        prediction_length=horizon,
        context_length=series.length,
        target_dim=series.num_channels,
        feat_dynamic_real_dim=known,
        past_feat_dynamic_real_dim=past - known,
        **more,
    )
    with torch.no_grad():
        return made(**library_tensors(series, horizon)).numpy()[0]


def with_covariates(series, horizon=HORIZON, seed=3):
    random = np.random.default_rng(seed)
    return replace(
        series,
        past_covariates={
            "price": random.normal(5, 2, series.length),
            "visits": random.normal(900, 50, series.length),
        },
        future_covariates={"price": random.normal(5, 2, horizon)},
    )


@pytest.mark.parametrize("horizon", [HORIZON, 64, 150])
def test_moirai_2_answers_as_the_librarys_own_call(moirai2, series_of, horizon):
    series = series_of()
    made = Moirai2Forecast(
        module=moirai2.network,
        prediction_length=horizon,
        context_length=STEPS,
        target_dim=1,
        feat_dynamic_real_dim=0,
        past_feat_dynamic_real_dim=0,
    )
    expected = made.predict([series.target[0]])[0]  # [Q, H]
    (forecast,) = moirai2.predict([series], ForecastTask(horizon, DECILES))
    np.testing.assert_allclose(forecast.quantiles[0], np.sort(expected, axis=0), **TOLERANCE)
    np.testing.assert_allclose(forecast.mean[0], expected[4], **TOLERANCE)


def test_moirai_2_fills_gaps_as_the_library_does(moirai2, series_of):
    series = series_of()
    series.target[0, [5, 20, 21, 40]] = np.nan
    made = Moirai2Forecast(
        module=moirai2.network,
        prediction_length=HORIZON,
        context_length=STEPS,
        target_dim=1,
        feat_dynamic_real_dim=0,
        past_feat_dynamic_real_dim=0,
    )
    filled = series.target[0].copy()
    for gap in np.flatnonzero(np.isnan(filled)):
        filled[gap] = np.nanmean(series.target[0, :gap])
    tensors = library_tensors(replace(series, target=filled[None]), HORIZON)
    tensors["past_observed_target"] = torch.from_numpy(~np.isnan(series.target.T[None]))
    with torch.no_grad():
        expected = made(**tensors).numpy()[0]
    (forecast,) = moirai2.predict([series], ForecastTask(HORIZON, DECILES))
    np.testing.assert_allclose(forecast.quantiles[0], np.sort(expected, axis=0), **TOLERANCE)


def test_moirai_2_reads_channels_and_covariates_as_the_library_does(moirai2, series_of):
    series = with_covariates(series_of(channels=2))
    visits = {"visits": series.past_covariates["visits"]}
    series = replace(series, past_covariates=visits, future_covariates={})
    expected = library_answer(Moirai2Forecast, moirai2, series, HORIZON)  # [Q, H, C]
    (forecast,) = moirai2.predict([series], ForecastTask(HORIZON, DECILES))
    expected = np.sort(expected.transpose(2, 0, 1), axis=1)
    np.testing.assert_allclose(forecast.quantiles, expected, **TOLERANCE)


def test_moirai_2_forecasts_channels_beyond_its_block_where_the_library_cannot(moirai2, series_of):
    series = series_of(channels=3)
    (long,) = moirai2.predict([series], ForecastTask(150, DECILES))
    expected = library_answer(Moirai2Forecast, moirai2, series, 64).transpose(2, 0, 1)
    np.testing.assert_allclose(long.quantiles[..., :64], np.sort(expected, axis=1), **TOLERANCE)
    assert len(np.unique(long.mean[:, 64:])) > 3 * 80


def standard(series):
    target = (series.target - series.target.mean()) / series.target.std()
    return replace(series, target=target)


@pytest.mark.parametrize(
    ("kind", "forecaster", "patch"),
    [("moirai1", MoiraiForecast, 32), ("experts", MoiraiMoEForecast, 16)],
)
def test_samples_are_those_of_the_librarys_own_call(kind, forecaster, patch, series_of, request):
    model = request.getfixturevalue(kind)
    series = standard(series_of())
    torch.manual_seed(11)
    paths = library_answer(forecaster, model, series, HORIZON, patch_size=patch, num_samples=30)
    task = ForecastTask(HORIZON, (0.1, 0.5, 0.9), num_samples=30, seed=11)
    (forecast,) = model.predict([series], task)
    expected = np.quantile(paths, task.quantile_levels, axis=0)
    np.testing.assert_allclose(forecast.quantiles[0], expected, **TOLERANCE)
    np.testing.assert_allclose(forecast.mean[0], np.median(paths, axis=0), **TOLERANCE)


@pytest.mark.parametrize("kind", ["moirai1", "experts"])
def test_samples_depend_on_the_seed_and_on_nothing_else(kind, series_of, request):
    model = request.getfixturevalue(kind)
    batch = [series_of(steps, seed=steps) for steps in (64, 40, 90)]
    task = ForecastTask(HORIZON, (0.1, 0.9), num_samples=10, seed=4)
    together = model.predict(batch, task)
    torch.manual_seed(99)  # what the process has drawn before
    before = torch.get_rng_state()
    for series, forecast in zip(batch, together, strict=True):
        (alone,) = model.predict([series], task)
        np.testing.assert_array_equal(alone.quantiles, forecast.quantiles)
    assert torch.equal(torch.get_rng_state(), before)
    (other,) = model.predict(batch[:1], replace(task, seed=5))
    assert not np.array_equal(other.quantiles, together[0].quantiles)


@pytest.mark.parametrize("kind", ["moirai1", "experts", "moirai2"])
@pytest.mark.parametrize("which", ["price", "visits"])
def test_covariates_count(kind, which, series_of, request):
    model = request.getfixturevalue(kind)
    series = with_covariates(series_of())
    if not model.capabilities.future_covariates:
        series = replace(series, future_covariates={})
    task = ForecastTask(HORIZON, (0.5,), num_samples=20)
    past = series.past_covariates | {which: series.past_covariates[which] ** 2}
    (one,) = model.predict([series], task)
    (other,) = model.predict([replace(series, past_covariates=past)], task)
    assert np.abs(one.mean - other.mean).max() > 1e-3


@pytest.mark.parametrize("kind", ["experts", "moirai2"])
def test_future_values_without_effect_are_refused_with_what_to_use(kind, series_of, request):
    model = request.getfixturevalue(kind)
    assert not model.capabilities.future_covariates
    assert model.capabilities.past_covariates
    series = with_covariates(series_of())
    with pytest.raises(InvalidRequest, match=r"future values of price.*past values only.*chronos"):
        model.predict([series], ForecastTask(HORIZON))
    ignoring = ForecastTask(HORIZON, options=MoiraiOptions(ignore_covariates=True))
    (forecast,) = model.predict([series], ignoring)
    assert "ignored covariates: price" in forecast.warnings


def test_what_is_known_ahead_moves_moirai_1(moirai1, series_of):
    series = with_covariates(series_of())
    ahead = {"price": series.future_covariates["price"][::-1].copy()}
    task = ForecastTask(HORIZON, (0.5,), num_samples=20)
    (one,) = moirai1.predict([series], task)
    (other,) = moirai1.predict([replace(series, future_covariates=ahead)], task)
    assert np.abs(one.mean - other.mean).max() > 1e-3


@pytest.mark.parametrize("kind", ["moirai1", "experts", "moirai2"])
def test_a_forecast_moves_and_stretches_with_its_series(kind, series_of, request):
    model = request.getfixturevalue(kind)
    series = series_of()
    task = ForecastTask(HORIZON, (0.1, 0.9), num_samples=20)
    (one,) = model.predict([series], task)
    for unit, level in ((1e-9, 0.0), (4.5e7, 0.0), (1.0, 1.7e9)):
        (other,) = model.predict([replace(series, target=series.target * unit + level)], task)
        np.testing.assert_allclose((other.quantiles - level) / unit, one.quantiles, atol=2e-3)


def test_a_patch_size_may_be_asked_of_moirai_1_only(moirai1, moirai2, series_of):
    series = series_of()
    task = ForecastTask(HORIZON, (0.5,), num_samples=20)
    asked = [replace(task, options=MoiraiOptions(patch_size=size)) for size in (32, 8)]
    usual, small = (moirai1.predict([series], one)[0] for one in asked)
    np.testing.assert_array_equal(usual.mean, moirai1.predict([series], task)[0].mean)
    assert not np.array_equal(usual.mean, small.mean)
    with pytest.raises(InvalidRequest, match="patch_size"):
        moirai2.predict([series], asked[0])


@pytest.mark.parametrize(
    ("alias", "patch"),
    [("s", 64), ("15min", 32), ("h", 32), ("D", 16), ("W-SUN", 16), ("MS", 8), ("QE", 8)],
)
def test_the_patch_size_follows_the_frequency(series_of, alias, patch):
    assert patch_of_frequency(replace(series_of(), freq=Frequency.parse(alias))) == patch


def test_more_patches_than_memory_holds_are_refused(moirai2, series_of):
    series = series_of(steps=4096, channels=20)
    with pytest.raises(InvalidRequest, match=r"5160 patches.*4096.*context_length"):
        moirai2.predict([series], ForecastTask(HORIZON, (0.5,)))
    (forecast,) = moirai2.predict([series], ForecastTask(HORIZON, (0.5,), context_length=32))
    assert forecast.mean.shape == (20, HORIZON)


def test_a_forecast_does_not_spoil_the_network_for_training(moirai2, series_of):
    """Positions are tabled at the first use of a length; inference tensors could not be trained."""
    moirai2.predict([series_of(steps=4096)], ForecastTask(1024, ()))
    assert not any(buffer.is_inference() for buffer in moirai2.network.buffers())


def test_without_weights_it_is_not_ready(series_of):
    with pytest.raises(ModelNotReady):
        MoiraiModel().predict([series_of()], ForecastTask(1))
