import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from forecast.core.errors import BadData, InvalidRequest, ModelNotReady
from forecast.core.types import ForecastTask, Series
from forecast.models.base.config import ModelOptions, TrainingMode
from forecast.models.base.scaling import ONE_VALUE
from forecast.models.lstm.model import LstmModel
from forecast.models.lstm.spec import LstmConfig
from tests.models.lstm.waves import wave

TASK = ForecastTask(horizon=6, quantile_levels=(0.1, 0.5, 0.9))


def windows_of(series, context=24, horizon=6, start=400):
    """Cut contexts after `start`, and what came after each."""
    ends = range(start, series.length - horizon)
    target = series.target
    contexts = [replace(series, target=target[:, end - context : end]) for end in ends]
    return contexts, np.stack([target[:, end : end + horizon] for end in ends])


def error_of(model, contexts, actual):
    means = np.stack([one.mean for one in model.predict(contexts, TASK)])
    return np.abs(means - actual).mean()


def test_it_learns_a_noisy_sine(trained):
    model, whole = trained
    contexts, actual = windows_of(whole)
    naive = np.abs(np.stack([one.target[:, -1:] for one in contexts]) - actual).mean()
    assert error_of(model, contexts, actual) < 0.25 * naive


def test_its_quantiles_cover_what_they_say(trained):
    model, whole = trained
    contexts, actual = windows_of(whole)
    quantiles = np.stack([one.quantiles for one in model.predict(contexts, TASK)])
    inside = (actual >= quantiles[:, :, 0]) & (actual <= quantiles[:, :, 2])
    assert 0.65 < inside.mean() < 0.9


def test_it_forecasts_the_smallest_numbers_alike_and_warns_of_a_single_one(trained):
    model, whole = trained
    target = whole.target[:, :100]
    tiny, plain, one = model.predict(
        [Series(target * 1e-300), Series(target), Series(target[:, :1])], TASK
    )
    np.testing.assert_allclose(tiny.quantiles * 1e300, plain.quantiles, rtol=1e-5)
    assert plain.warnings == ()
    assert one.warnings == (ONE_VALUE,)


def test_the_same_seed_trains_the_same_weights_and_another_others(small):
    first, second, other = (small(seed=seed).network.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["read.weight"], other["read.weight"])


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(small, tmp_path):
    def stop(progress):
        return progress.epoch != 1

    whole = small(max_epochs=3)
    stopped = small(max_epochs=3, checkpoints=tmp_path, on_progress=stop)
    resumed = small(max_epochs=3, checkpoints=tmp_path)
    assert stopped.training_history_[-1]["epoch"] == 1
    weights = resumed.network.state_dict()
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(weight, weights[name]), name


def test_saved_and_loaded_it_forecasts_the_same_from_safetensors_and_json(trained, tmp_path):
    model, whole = trained
    model.save_model(tmp_path / "saved")
    files = {file.name for file in (tmp_path / "saved").rglob("*") if file.is_file()}
    assert files == {
        "config.json", "training_metadata.json", "model.safetensors", "features.json",
        "calibration.json",
    }  # fmt: skip
    loaded = LstmModel.load_model(tmp_path / "saved")
    (one,), (other,) = (each.predict([whole], TASK) for each in (model, loaded))
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.quantiles, other.quantiles)
    assert loaded.training_ == model.training_


def test_the_scale_of_a_covariate_is_of_the_training_series_alone(small, tmp_path):
    train, validation = wave(100), wave(60, seed=1)
    train = replace(train, past_covariates={"price": np.arange(100.0)})
    validation = replace(validation, past_covariates={"price": np.full(60, 1e6)})
    small([train], [validation]).save_model(tmp_path / "saved")
    document = json.loads((tmp_path / "saved" / "weights" / "features.json").read_text())
    assert document["covariates"] == {"price": {"center": 49.5, "scale": np.arange(100.0).std()}}


@pytest.mark.parametrize(("level", "unit"), [(0, 1e-9), (5000, 40), (4.5e7, 1), (1.7e9, 1)])
def test_a_series_that_is_moved_and_stretched_gets_such_a_forecast(trained, level, unit):
    model, whole = trained
    moved = replace(whole, target=level + unit * whole.target)
    (one,), (other,) = (model.predict([series], TASK) for series in (whole, moved))
    np.testing.assert_allclose((other.mean - level) / unit, one.mean, atol=1e-3)
    np.testing.assert_allclose((other.quantiles - level) / unit, one.quantiles, atol=1e-3)


def with_promo(steps=400, ahead=0):
    random = np.random.default_rng(2)
    promo = (random.random(steps + ahead) < 0.3).astype(float)
    target = wave(steps + ahead).target + 3 * promo
    past = {"promo": promo[:steps]}
    future = {"promo": promo[steps:]} if ahead else {}
    return Series(target[:, :steps], past_covariates=past, future_covariates=future), target


def test_what_is_known_ahead_is_used_at_the_step_it_is_known_for(small):
    series, _ = with_promo()
    model = small([series], known_ahead=("promo",), max_epochs=20)
    base, told = (
        replace(series.last(24), future_covariates={"promo": np.array(promo, dtype=float)})
        for promo in ([0] * 6, [0, 0, 1, 0, 0, 0])
    )
    (one,), (other,) = (model.predict([each], TASK) for each in (base, told))
    effect = (other.mean - one.mean)[0]
    assert effect[2] > 2
    assert np.abs(np.delete(effect, 2)).max() < 1


def test_covariates_with_future_values_are_known_ahead_without_being_named(small):
    series, _ = with_promo(ahead=6)
    model = small([series])
    assert model.features.known_ahead == ("promo",)
    assert model.capabilities.future_covariates


def test_a_covariate_of_the_past_is_used(small):
    random = np.random.default_rng(0)
    lead = random.normal(size=1206)
    series = Series(lead[None, :1200], past_covariates={"lead": lead[6:]})  # six steps early
    model = small([series], max_epochs=16, stride=2, learning_rate=1e-2, dropout=0.0)
    (one,) = model.predict([series.last(24)], TASK)
    assert np.abs(one.mean[0] - lead[1200:]).mean() < 0.4 * np.abs(lead[1200:]).mean()


def test_covariates_are_refused_by_name_unless_they_are_those_trained_on(small):
    series, _ = with_promo()
    model = small([series], known_ahead=("promo",))
    with pytest.raises(InvalidRequest, match="promo"):
        model.predict([replace(series, past_covariates={})], TASK)
    with pytest.raises(InvalidRequest, match="future values of covariate promo"):
        model.predict([series], TASK)
    told = replace(series, future_covariates={"promo": np.zeros(6)})
    more = replace(told, past_covariates=told.past_covariates | {"rain": np.zeros(400)})
    with pytest.raises(InvalidRequest, match="rain"):
        model.predict([more], TASK)
    ignoring = replace(TASK, options=ModelOptions(ignore_covariates=True))
    (one,), (other,) = (model.predict([each], ignoring) for each in (told, more))
    np.testing.assert_array_equal(one.mean, other.mean)


def test_known_ahead_must_name_covariates(small):
    with pytest.raises(InvalidRequest, match="rain"):
        small(known_ahead=("rain",))


def test_joined_channels_tell_of_each_other(small):
    """The second channel is the first of six steps before."""
    random = np.random.default_rng(0)
    lead = random.normal(size=1506)
    both = Series(np.stack([lead[6:], lead[:1500]]), channels=("lead", "lag"))
    train = replace(both, target=both.target[:, :1400])
    contexts, actual = windows_of(both, start=1400)
    errors = {}
    for mode in ("joint", "independent"):
        model = small(
            [train], channel_mode=mode, max_epochs=14, stride=2, learning_rate=1e-2, dropout=0.0
        )
        means = np.stack([one.mean for one in model.predict(contexts, TASK)])
        errors[mode] = np.abs(means - actual)[:, 1].mean()
    assert errors["joint"] < 0.5 * errors["independent"]


def test_the_channels_are_those_trained_on_in_their_order(small):
    both = Series(np.vstack([wave().target] * 2), channels=("a", "b"))
    model = small([both])
    assert model.predict([both], TASK)[0].mean.shape == (2, 6)
    with pytest.raises(InvalidRequest, match="a, b"):
        model.predict([replace(both, channels=("b", "a"))], TASK)
    with pytest.raises(InvalidRequest, match="trained on 2"):
        model.predict([wave()], TASK)


def test_a_series_that_grows_to_a_multiple_is_counted_in_the_unit_of_its_context(small):
    """In the unit of the series, the errors of its small beginning would count for nothing."""
    grown = replace(wave(), target=wave().target * np.exp(np.arange(300) / 20))
    losses = {
        unit: small([grown], loss_unit=unit).best_metrics_["loss"] for unit in ("series", "context")
    }
    plain = small(loss_unit="context").best_metrics_["loss"]
    assert 0.5 < losses["context"] / plain < 4
    assert losses["series"] < 0.5 * losses["context"]


def test_gaps_are_learned_from_and_forecast_from(small):
    holed = wave().target.copy()
    holed[0, ::7] = np.nan
    holed[0, 100:110] = np.nan
    contexts, actual = windows_of(Series(wave(500).target))
    model = small([Series(holed)], max_epochs=8)
    naive = np.abs(np.stack([one.target[:, -1:] for one in contexts]) - actual).mean()
    unseen = np.arange(24) % 7 == 5
    gappy = [replace(one, target=np.where(unseen, np.nan, one.target)) for one in contexts]
    assert error_of(model, gappy, actual) < 0.5 * naive


def test_fine_tuning_starts_from_the_loaded_weights_and_keeps_the_features(trained, tmp_path):
    model, whole = trained
    model.save_model(tmp_path / "saved")
    tuned = LstmModel.load_model(tmp_path / "saved", training_mode=TrainingMode.FINE_TUNE)
    other = replace(wave(shift=3), target=wave(shift=3).target ** 3)
    contexts, actual = windows_of(replace(wave(500, seed=4), target=wave(500, seed=4).target ** 3))
    before = error_of(tuned, contexts, actual)
    tuned.fit([other])
    assert error_of(tuned, contexts, actual) < before
    assert tuned.features == model.features
    with pytest.raises(InvalidRequest, match="2 channels"):
        tuned.fit([Series(np.vstack([wave().target] * 2))])


def test_options_that_do_not_fit_the_weights_are_named(trained, tmp_path):
    trained[0].save_model(tmp_path / "saved")
    with pytest.raises(BadData, match="hidden_dim"):
        LstmModel.load_model(tmp_path / "saved", hidden_dim=5)


@pytest.mark.parametrize("file", ["model.safetensors", "features.json"])
def test_a_folder_that_lacks_a_file_is_refused(trained, tmp_path, file):
    trained[0].save_model(tmp_path / "saved")
    (tmp_path / "saved" / "weights" / file).unlink()
    with pytest.raises(BadData, match=file):
        LstmModel.load_model(tmp_path / "saved")


def test_a_damaged_file_is_refused(trained, tmp_path):
    trained[0].save_model(tmp_path / "saved")
    (tmp_path / "saved" / "weights" / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(BadData, match=r"model\.safetensors"):
        LstmModel.load_model(tmp_path / "saved")


def test_without_weights_it_says_so():
    with pytest.raises(ModelNotReady, match="train"):
        LstmModel().predict([wave()], TASK)


@pytest.mark.parametrize("levels", [(), (0.5, 0.5), (0.9, 0.1), (0.0, 0.5)])
def test_levels_that_are_no_levels_in_order_are_refused(levels):
    with pytest.raises(ValidationError, match="quantile_levels"):
        LstmConfig(quantile_levels=levels)
