"""PatchTST trained here: it learns, is the same again, and says how sure it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import PatchTSTForPrediction

from forecast.core.errors import ModelNotReady
from forecast.core.types import ForecastTask, Series
from forecast.models.base.config import LoraConfig
from forecast.models.patchtst.model import PatchTSTModel, architecture_of
from forecast.models.patchtst.spec import PatchTSTConfig
from tests.models.patchtst.conftest import SMALL, library_checkpoint, untrained, waves

TASK = ForecastTask(12, (0.1, 0.5, 0.9))
TEST = [waves(60, start=start) for start in range(400, 430, 3)]


def weights_of(model: PatchTSTModel) -> dict[str, torch.Tensor]:
    return model.network.state_dict()


def assert_equal_weights(one: PatchTSTModel, other: PatchTSTModel) -> None:
    theirs = weights_of(other)
    assert all(torch.equal(weight, theirs[name]) for name, weight in weights_of(one).items())


def test_it_learns_waves_better_than_their_last_season(trained):
    measured = trained.evaluate([replace(one, freq=None) for one in TEST], TASK)
    naive = np.mean([np.abs(one.target[:, -12:] - one.target[:, -24:-12]).mean() for one in TEST])
    still = np.mean([np.abs(one.target[:, -12:] - one.target[:, [-13]]).mean() for one in TEST])
    assert measured["mae"] < 2.5 * naive
    assert measured["mae"] < 0.2 * still
    assert 0.5 < measured["coverage_80"] < 1


def test_it_forecasts_more_channels_than_it_has_seen(trained):
    many = waves(60, start=400, channels=5)
    together = trained.predict([many], TASK)[0]
    alone = trained.predict([Series(target=row[None]) for row in many.target], TASK)
    np.testing.assert_allclose(together.mean, np.concatenate([one.mean for one in alone]), 1e-4)


def test_a_distribution_is_learned_where_nll_is_asked():
    model = untrained(loss="nll").fit([waves(300)], [waves(100, start=300)])
    assert model.capabilities.quantiles == "native"
    assert model.calibration_.kind == "quantiles"
    measured = model.evaluate(TEST, TASK)
    assert measured["mae"] < 0.3
    assert 0.5 < measured["coverage_80"] <= 1


def test_gaps_in_the_series_to_learn_from_are_coped_with():
    train = waves(300)
    train.target[0, 50:60] = np.nan
    train.target[:, 200::7] = np.nan
    model = untrained(max_epochs=3).fit([train], [waves(100, start=300)])
    assert model.evaluate(TEST, TASK)["mae"] < 0.5


def test_a_trained_model_is_saved_whole_with_its_record(trained, tmp_path):
    trained.save_model(tmp_path / "saved")
    loaded = PatchTSTModel.load_model(tmp_path / "saved")
    assert loaded.config == trained.config
    assert loaded.training_ == trained.training_
    assert loaded.best_metrics_["validation_loss"] < 0.1
    for one, other in zip(trained.predict(TEST, TASK), loaded.predict(TEST, TASK), strict=True):
        np.testing.assert_array_equal(one.mean, other.mean)
        np.testing.assert_allclose(one.quantiles, other.quantiles, atol=1e-5)


def test_the_same_seed_learns_the_same_weights():
    train = [waves(120)]
    first, second, third = (
        untrained(max_epochs=1, dropout=0.3, seed=seed).fit(train) for seed in (1, 1, 2)
    )
    assert_equal_weights(first, second)
    with pytest.raises(AssertionError):
        assert_equal_weights(first, third)


def test_an_interrupted_training_goes_on_to_the_same_end(tmp_path):
    data = [waves(150)], [waves(80, start=150)]
    options = {"max_epochs": 3, "dropout": 0.3}
    whole = untrained(**options).fit(*data)

    def stop_after_one(progress):
        return progress.epoch is None or progress.epoch < 1

    untrained(**options).fit(*data, on_progress=stop_after_one, checkpoints=tmp_path)
    resumed = untrained(**options).fit(*data, checkpoints=tmp_path)
    assert_equal_weights(whole, resumed)


def test_a_checkpoint_is_tuned_further_in_its_own_size(trained, tmp_path):
    trained.save_model(tmp_path / "saved")
    tuned = PatchTSTModel.load_model(
        tmp_path / "saved", training_mode="fine_tune", max_epochs=2, context_length=99, horizon=7
    )
    before = {name: weight.clone() for name, weight in weights_of(tuned).items()}
    saws = [Series(target=(np.arange(200) % 9.0)[None])]
    loss = tuned.evaluate(saws, TASK)["mae"]
    tuned.fit(saws)
    assert tuned.evaluate(saws, TASK)["mae"] < 0.8 * loss
    assert tuned.capabilities.max_context == 36
    assert any(not torch.equal(weight, before[name]) for name, weight in weights_of(tuned).items())


def test_a_checkpoint_of_the_library_is_tuned(tmp_path):
    library_checkpoint(tmp_path, loss="nll")
    model = PatchTSTModel.load_model(
        tmp_path, training_mode="fine_tune", max_epochs=2, learning_rate=5e-3
    )
    before = model.evaluate(TEST, replace(TASK, horizon=8))["mae"]
    model.fit([waves(150)])
    assert model.evaluate(TEST, replace(TASK, horizon=8))["mae"] < before


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # asked by peft
def test_adapters_are_trained_alone_and_merged(trained, tmp_path):
    trained.save_model(tmp_path / "saved")
    tuned = PatchTSTModel.load_model(
        tmp_path / "saved", training_mode="fine_tune", max_epochs=1, lora=LoraConfig(rank=2)
    )
    before = {name: weight.clone() for name, weight in weights_of(tuned).items()}
    tuned.fit([waves(120)])
    after = weights_of(tuned)
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    learned = {name for name in changed if name.endswith("proj.weight")}
    assert learned
    assert all("norm" in name for name in changed - learned), "only averages change beside them"


def test_without_weights_nothing_is_forecast_or_tuned():
    with pytest.raises(ModelNotReady, match="train it first"):
        untrained().predict([waves(60)], TASK)
    with pytest.raises(ModelNotReady):
        untrained(training_mode="fine_tune").fit([waves(60)])


def test_a_new_network_is_as_large_as_the_papers():
    """The authors' own code has 81 728 weights for 42 patches: one patch, padded, is not here."""
    network = PatchTSTForPrediction(architecture_of(PatchTSTConfig(device="cpu")))
    learned = sum(weight.numel() for weight in network.parameters())
    assert learned == 81_728 - 16 * 96 - 16


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"context_length": 6}, "longer than patch_length"),
        ({"hidden_dim": 10}, "multiple of num_attention_heads"),
        ({"loss": "nll", "horizon": 1}, "at least 2"),
        ({"patch_len": 16}, "Extra inputs"),
    ],
)
def test_options_that_make_no_network_are_refused(options, told):
    with pytest.raises(ValidationError, match=told):
        PatchTSTConfig(**(SMALL | options))
