import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from forecast.core.errors import BadData, InvalidRequest, ModelNotReady
from forecast.core.types import ForecastTask, Series
from forecast.models.base.config import TrainingMode
from forecast.models.ts2vec.averaging import Averaging
from forecast.models.ts2vec.model import Ts2VecModel
from tests.models.ts2vec.sines import sine

_FIRST, _NEXT = slice(None, 300), slice(276, 400)
TASK = ForecastTask(horizon=6, quantile_levels=(0.1, 0.5, 0.9))


def windows_of(series, context=24, horizon=6, start=400):
    """Cut contexts after `start`, and what came after each."""
    ends = range(start, series.length - horizon)
    target = series.target
    contexts = [replace(series, target=target[:, end - context : end]) for end in ends]
    return contexts, np.stack([target[:, end : end + horizon] for end in ends])


def test_it_learns_a_noisy_sine(trained):
    model, whole = trained
    contexts, actual = windows_of(whole)
    forecasts = model.predict(contexts, TASK)
    error = np.abs(np.stack([one.mean for one in forecasts]) - actual).mean()
    naive = np.abs(np.stack([one.target[:, -1:] for one in contexts]) - actual).mean()
    assert error < 0.3 * naive


def test_its_quantiles_cover_what_they_say(trained):
    model, whole = trained
    contexts, actual = windows_of(whole)
    quantiles = np.stack([one.quantiles for one in model.predict(contexts, TASK)])
    inside = (actual >= quantiles[:, :, 0]) & (actual <= quantiles[:, :, 2])
    assert 0.7 < inside.mean() < 0.9


def test_the_same_seed_trains_the_same_weights_and_another_others(small):
    first, second, other = (small(seed=seed).network.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["encoder.project.weight"], other["encoder.project.weight"])


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(small, tmp_path):
    seen = []

    def stop(progress):
        seen.append(progress.step)
        return False if len(seen) == 1 else None

    whole = small(max_steps=60)
    small(max_steps=60, checkpoints=tmp_path, on_progress=stop)
    resumed = small(max_steps=60, checkpoints=tmp_path)
    assert seen[0] < 60
    weights = resumed.network.state_dict()
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(weight, weights[name]), name


def test_saved_and_loaded_it_forecasts_the_same_from_safetensors_and_json(trained, tmp_path):
    model, whole = trained
    model.save_model(tmp_path / "saved")
    files = {file.name for file in (tmp_path / "saved").rglob("*") if file.is_file()}
    assert files == {
        "config.json", "training_metadata.json",
        "model.safetensors", "features.json", "calibration.json",
    }  # fmt: skip
    loaded = Ts2VecModel.load_model(tmp_path / "saved")
    (one,), (other,) = (each.predict([whole], TASK) for each in (model, loaded))
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_allclose(one.quantiles, other.quantiles, atol=1e-5)
    assert loaded.best_metrics_ == model.best_metrics_
    assert {"head_mse", "head_mae"} < set(loaded.best_metrics_)


def test_the_scales_are_of_the_training_series_alone(small):
    whole = sine(500)
    train, validation = (Series(target=whole.target[:, part]) for part in (_FIRST, _NEXT))
    model = small([train], [validation], normalize_instances=False)
    (scale,) = model.features.targets
    assert scale.center == pytest.approx(whole.target[:, :300].mean())
    assert scale.scale == pytest.approx(whole.target[:, :300].std())


def test_series_of_any_unit_are_learned_beside_each_other(small):
    plain = sine(300)
    levels, units = (0, 4.5e7, 1.7e9), (1e-9, 1, 1)
    panel = [
        replace(plain, target=level + unit * plain.target)
        for level, unit in zip(levels, units, strict=True)
    ]
    model = small(panel, max_steps=20)
    (alone,) = small([plain], max_steps=20).predict([plain], TASK)
    for one, level, unit in zip(model.predict(panel, TASK), levels, units, strict=True):
        error = (one.mean - level) / unit - alone.mean
        assert np.abs(error).max() < 0.3 * plain.target.std()


@pytest.mark.parametrize(("level", "unit"), [(0, 1e-9), (5000, 40), (4.5e7, 1), (1.7e9, 1)])
def test_a_series_that_is_moved_and_stretched_gets_such_a_forecast(trained, level, unit):
    model, whole = trained
    moved = replace(whole, target=level + unit * whole.target)
    (one,), (other,) = (model.predict([series], TASK) for series in (whole, moved))
    np.testing.assert_allclose((other.mean - level) / unit, one.mean, atol=1e-3)
    np.testing.assert_allclose((other.quantiles - level) / unit, one.quantiles, atol=1e-3)


def test_the_papers_own_protocol_reads_levels_as_they_are(small):
    model = small(normalize_instances=False)
    (one,) = model.predict([sine()], TASK)
    (other,) = model.predict([replace(sine(), target=sine().target + 100)], TASK)
    assert np.abs(other.mean - 100 - one.mean).max() > 1


def test_the_encoder_learns_from_the_training_series_alone_the_penalty_from_validation(small):
    one, other = (
        small(validation=[sine(120, seed=seed, noise=noise)])
        for seed, noise in ((5, 0.1), (6, 5.0))
    )
    first, second = one.network.state_dict(), other.network.state_dict()
    assert torch.equal(first["encoder.project.weight"], second["encoder.project.weight"])
    assert not torch.equal(first["head.weight"], second["head.weight"])


def test_several_channels_are_encoded_together_or_each_alone(small):
    both = Series(np.vstack([sine().target, sine(seed=1).target]), channels=("a", "b"))
    changed = replace(both, target=both.target * [[1], [-1]])
    for mode, moves in (("joint", True), ("independent", False)):
        model = small([both], channel_mode=mode)
        (one,), (other,) = (model.predict([series], TASK) for series in (both, changed))
        assert one.mean.shape == (2, 6)
        assert (not np.allclose(one.mean[0], other.mean[0], atol=1e-5)) is moves


def test_covariates_of_the_past_are_read(small):
    random = np.random.default_rng(0)
    lead = random.normal(size=306)
    leading = {"lead": lead[6:]}  # what comes in six steps
    series = Series(lead[None, :300], past_covariates=leading)
    model = small([series], max_steps=60)
    forecasts = model.predict([series.last(40)], replace(TASK, quantile_levels=()))
    told = replace(series.last(40), past_covariates={"lead": -leading["lead"][-40:]})
    assert not np.allclose(forecasts[0].mean, model.predict([told], TASK)[0].mean)
    with pytest.raises(InvalidRequest, match="lead"):
        model.predict([replace(series, past_covariates={})], TASK)


def test_gaps_are_learned_from_and_forecast_from(small):
    holed = sine().target.copy()
    holed[0, ::7] = np.nan
    holed[0, 100:110] = np.nan
    model = small([Series(holed)])
    (one,) = model.predict([Series(holed)], TASK)
    assert np.isfinite(one.mean).all()


@pytest.mark.parametrize("steps", [8, 13, 40])
def test_a_short_series_is_learned_from(small, steps):
    (one,) = small([sine(steps)]).predict([sine(steps)], TASK)
    assert np.isfinite(one.quantiles).all()


def test_fine_tuning_starts_from_the_loaded_weights_and_keeps_the_scales(trained, tmp_path):
    model, _ = trained
    model.save_model(tmp_path / "saved")
    tuned = Ts2VecModel.load_model(
        tmp_path / "saved", training_mode=TrainingMode.FINE_TUNE, max_steps=1, learning_rate=1e-8
    )
    tuned.fit([replace(sine(seed=3), target=sine(seed=3).target * 10)])
    before, after = (each.network.state_dict() for each in (model, tuned))
    torch.testing.assert_close(before["encoder.project.weight"], after["encoder.project.weight"])
    assert tuned.features == model.features
    with pytest.raises(InvalidRequest, match="2 channels"):
        tuned.fit([Series(np.vstack([sine().target] * 2))])


def test_options_that_do_not_fit_the_weights_are_named(trained, tmp_path):
    trained[0].save_model(tmp_path / "saved")
    with pytest.raises(BadData, match="representation_dim"):
        Ts2VecModel.load_model(tmp_path / "saved", representation_dim=5)


@pytest.mark.parametrize("file", ["model.safetensors", "features.json", "calibration.json"])
def test_a_folder_that_lacks_a_file_is_refused(trained, tmp_path, file):
    trained[0].save_model(tmp_path / "saved")
    (tmp_path / "saved" / "weights" / file).unlink()
    with pytest.raises(BadData, match=file):
        Ts2VecModel.load_model(tmp_path / "saved")


def test_without_weights_it_says_so():
    with pytest.raises(ModelNotReady, match="train"):
        Ts2VecModel().predict([sine()], TASK)


def test_the_mean_of_the_weights_is_over_every_step():
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 1)
    averaging = Averaging(network, Ts2VecModel.spec.config(learning_rate=0.1))
    seen = []
    for _ in range(5):
        averaging.step(network(torch.randn(8, 3)).square().mean())
        seen.append(network.weight.detach().clone())
    averaging.finish()
    torch.testing.assert_close(network.weight.detach(), torch.stack(seen).mean(dim=0))


def test_the_record_of_the_training_tells_what_it_was(trained, tmp_path):
    trained[0].save_model(tmp_path / "saved")
    record = json.loads((tmp_path / "saved" / "training_metadata.json").read_text())
    assert record["mode"] == "from_scratch"
    assert record["seed"] == 0
