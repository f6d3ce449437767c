"""Moirai 2 is fine-tuned; the other kinds are not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("uni2ts", reason="its own environment has it: ./setup.sh env moirai")

from forecast.core.errors import InvalidRequest, NotTrainable
from forecast.core.types import ForecastTask, Series
from forecast.models.base.config import LoraConfig
from forecast.models.moirai.model import MoiraiModel
from forecast.models.moirai.tiny import write_tiny
from tests.models.calibration import CONFIG, calibrates_by_validation

HORIZON = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("moirai2")
    write_tiny(path)
    return path


def fast(folder, **options):
    settings = {
        "device": "cpu",
        "learning_rate": 3e-3,
        "context_length": 48,
        "horizon": HORIZON,
        "batch_size": 16,
        "max_steps": 60,
        "max_epochs": None,
        "stride": 3,
    }
    return MoiraiModel.load_model(folder, **(settings | options))


def sine(steps=300, phase=0.0, **changes):
    return Series(
        target=100 + 8 * np.sin(2 * np.pi * np.arange(steps) / 12 + phase)[None], **changes
    )


def error_of(model, series):
    past = replace(series, target=series.target[:, :-HORIZON])
    (forecast,) = model.predict([past], ForecastTask(HORIZON, (0.1, 0.5, 0.9)))
    return np.abs(forecast.mean - series.target[:, -HORIZON:]).mean()


@pytest.fixture(scope="module")
def trained(folder):
    return fast(folder).fit([sine()], [sine(phase=1.0)])


def test_it_learns_a_sine_better_than_the_last_value_is(folder, trained):
    later = sine(100, phase=2.0)
    last = later.target[:, -HORIZON - 1 : -HORIZON]
    naive = np.abs(last - later.target[:, -HORIZON:]).mean()
    assert error_of(trained, later) < 0.3 * naive < 0.5 * error_of(fast(folder), later)
    assert trained.best_metrics_["validation_loss"] > 0


def test_trained_weights_are_saved_and_loaded_with_their_record(trained, tmp_path):
    trained.save_model(tmp_path / "saved")
    loaded = MoiraiModel.load_model(tmp_path / "saved")
    assert loaded.training_ == trained.training_
    task = ForecastTask(100, (0.1, 0.9))
    one, other = (model.predict([sine(90)], task)[0] for model in (trained, loaded))
    np.testing.assert_array_equal(one.quantiles, other.quantiles)


def test_the_same_seed_gives_the_same_weights(folder):
    one, other = (fast(folder, max_steps=5, seed=3).fit([sine()]) for _ in range(2))
    for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_interrupted_training_goes_on_where_it_was(folder, tmp_path):
    options = {"max_steps": None, "max_epochs": 2, "stride": 8}
    whole = fast(folder, **options).fit([sine()])
    fast(folder, **options).fit([sine()], checkpoints=tmp_path, on_progress=lambda _: False)
    resumed = fast(folder, **options).fit([sine()], checkpoints=tmp_path)
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_adapters_change_attention_and_nothing_else(folder):
    before = fast(folder)
    tuned = fast(folder, max_steps=5, lora=LoraConfig(rank=2)).fit([sine()])
    weights = dict(before.network.named_parameters())
    changed = {
        name
        for name, weight in tuned.network.named_parameters()
        if not torch.equal(weight, weights[name])
    }
    assert changed
    assert all(".self_attn." in name for name in changed)
    assert all(parameter.requires_grad for parameter in tuned.network.parameters())


def test_a_covariate_that_leads_is_learned(folder):
    random = np.random.default_rng(0)
    walk = random.normal(size=(4, 200)).cumsum(axis=1)
    series = [
        Series(
            target=np.roll(one, HORIZON)[None, HORIZON:], past_covariates={"lead": one[HORIZON:]}
        )
        for one in walk
    ]
    model = fast(folder, max_steps=150, learning_rate=5e-3).fit(series[1:])
    told, untold = series[0], replace(series[0], past_covariates={"lead": 0 * walk[0, HORIZON:]})
    task = ForecastTask(HORIZON, ())
    ahead = walk[0, -HORIZON:]
    past = [one.last(184) for one in (told, untold)]
    errors = [np.abs(f.mean[0] - ahead).mean() for f in model.predict(past, task)]
    assert errors[0] < 0.8 * errors[1]


def test_windows_with_gaps_and_short_series_are_learned_from(folder):
    short = sine(20)
    short.target[0, [3, 4, 18]] = np.nan
    model = fast(folder, max_steps=3).fit([short])
    assert np.isfinite(model.predict([sine(30)], ForecastTask(5, ()))[0].mean).all()


@pytest.mark.parametrize("kind", ["moirai1", "moirai-moe"])
def test_other_kinds_are_refused(kind):
    with pytest.raises(NotTrainable, match="only Moirai 2"):
        MoiraiModel.tiny(kind).fit([sine()])


def test_a_horizon_beyond_the_block_is_refused(folder):
    with pytest.raises(InvalidRequest, match="64 steps at once"):
        fast(folder, horizon=65).fit([sine()])


def test_a_validation_split_calibrates_the_quantiles_of_what_was_tuned(folder, tmp_path):
    model = MoiraiModel.load_model(folder, **CONFIG)
    calibrates_by_validation(model, tmp_path / "saved")
