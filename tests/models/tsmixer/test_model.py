"""TSMixer trained here: it learns across channels, is the same again, and knows its channels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from forecast.core.errors import InvalidRequest, ModelNotReady
from forecast.core.types import ForecastTask, Series
from forecast.models.base.config import LoraConfig
from forecast.models.tsmixer.model import TSMixerModel
from tests.models.tsmixer.conftest import NAMES, pair, untrained

TASK = ForecastTask(3, (0.1, 0.5, 0.9))
TEST = [pair(40, start=start) for start in range(900, 1100, 4)]


def assert_equal_weights(one: TSMixerModel, other: TSMixerModel) -> None:
    theirs = other.network.state_dict()
    for name, weight in one.network.state_dict().items():
        assert torch.equal(weight, theirs[name]), name


def test_it_learns_one_channel_from_another(trained):
    """The follower is noise that only the leader tells; of the leader nothing can be known."""
    follower, leader = [], []
    for series in TEST:
        past = replace(series, target=series.target[:, :-3])
        mean = trained.predict([past], TASK)[0].mean
        error = np.abs(mean - series.target[:, -3:])
        leader.append(error[0] / 5)
        follower.append(error[1])
    assert np.mean(follower) < 0.4
    assert np.mean(leader) > 0.7


def test_each_channel_is_as_sure_as_it_was_right(trained):
    forecast = trained.predict([TEST[0]], TASK)[0]
    width = (forecast.quantiles[:, 2] - forecast.quantiles[:, 0]).mean(axis=1) / [5, 1]
    assert width[1] < 0.6 * width[0]
    assert 0.7 < trained.evaluate(TEST, TASK)["coverage_80"] < 0.9


@pytest.mark.parametrize(
    "series",
    [
        pair(40).target[:1],
        np.vstack([pair(40).target] * 2),
    ],
    ids=["fewer", "more"],
)
def test_other_channels_than_it_was_trained_on_are_refused(trained, series):
    with pytest.raises(InvalidRequest, match=r"trained on 2 \(leader, follower\)"):
        trained.predict([Series(target=series)], TASK)


def test_channels_in_another_order_are_refused_and_without_names_taken_as_they_come(trained):
    turned = replace(pair(40), channels=NAMES[::-1])
    with pytest.raises(InvalidRequest, match="in this order"):
        trained.predict([turned], TASK)
    nameless = replace(pair(40), channels=())
    one, other = (trained.predict([series], TASK)[0] for series in (nameless, pair(40)))
    np.testing.assert_array_equal(one.mean, other.mean)


def test_a_trained_model_is_saved_whole_with_its_record(trained, tmp_path):
    trained.save_model(tmp_path / "saved")
    loaded = TSMixerModel.load_model(tmp_path / "saved")
    assert loaded.config == trained.config
    assert loaded.training_ == trained.training_
    assert loaded.training_.item_ids == ("0",)
    for one, other in zip(trained.predict(TEST, TASK), loaded.predict(TEST, TASK), strict=True):
        np.testing.assert_array_equal(one.mean, other.mean)
        np.testing.assert_allclose(one.quantiles, other.quantiles, atol=1e-4)


def test_the_same_seed_learns_the_same_weights():
    first, second, third = (
        untrained(max_epochs=1, dropout=0.5, seed=seed).fit([pair(120)]) for seed in (1, 1, 2)
    )
    assert_equal_weights(first, second)
    with pytest.raises(AssertionError):
        assert_equal_weights(first, third)


def test_an_interrupted_training_goes_on_to_the_same_end(tmp_path):
    data = [pair(150)], [pair(80, start=150)]
    options = {"max_epochs": 3, "dropout": 0.5}
    whole = untrained(**options).fit(*data)

    def stop_after_one(progress):
        return progress.epoch is None or progress.epoch < 1

    untrained(**options).fit(*data, on_progress=stop_after_one, checkpoints=tmp_path)
    resumed = untrained(**options).fit(*data, checkpoints=tmp_path)
    assert_equal_weights(whole, resumed)


def test_a_panel_of_single_channels_of_any_unit_is_learned():
    series = [
        Series(target=scale * np.sin(2 * np.pi * (np.arange(150) + phase) / 12)[None] + scale)
        for phase, scale in enumerate((1e-3, 1.0, 1e6))
    ]
    model = untrained(max_epochs=15).fit(series)
    for one in series:
        measured = model.evaluate([one], TASK)
        assert measured["mae"] < 0.3 * one.target.std()


def test_gaps_in_the_series_to_learn_from_are_coped_with():
    train = pair(300)
    train.target[0, 50:60] = np.nan
    train.target[:, 200::7] = np.nan
    model = untrained(max_epochs=2).fit([train], [pair(60, start=300)])
    assert np.isfinite(model.best_metrics_["validation_loss"])


def test_a_trained_network_is_tuned_further_on_its_own_channels(trained, tmp_path):
    trained.save_model(tmp_path / "saved")
    tuned = TSMixerModel.load_model(
        tmp_path / "saved", training_mode="fine_tune", max_epochs=5, context_length=99
    )
    turned = Series(target=pair(400, start=200).target[::-1])
    before = tuned.evaluate([turned], TASK)["mae"]
    tuned.fit([turned])
    assert tuned.evaluate([turned], TASK)["mae"] < before
    assert tuned.capabilities.max_context == 12
    with pytest.raises(InvalidRequest, match="trained on 2"):
        tuned.fit([Series(target=pair(100).target[:1])])


def test_adapters_are_trained_alone_and_merged(trained, tmp_path):
    trained.save_model(tmp_path / "saved")
    tuned = TSMixerModel.load_model(
        tmp_path / "saved", training_mode="fine_tune", max_epochs=1, lora=LoraConfig(rank=2)
    )
    before = {name: weight.clone() for name, weight in tuned.network.state_dict().items()}
    tuned.fit([pair(120)])
    after = tuned.network.state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert "head.weight" in changed
    assert "head.bias" not in changed
    assert "gain" not in changed


def test_without_weights_nothing_is_forecast_or_tuned():
    with pytest.raises(ModelNotReady, match="train it first"):
        untrained().predict([pair(60)], TASK)
    with pytest.raises(ModelNotReady):
        untrained(training_mode="fine_tune").fit([pair(60)])
