"""Each kind of Chronos learns: whole, or by adapters."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from chronos.chronos2.dataset import Chronos2Dataset, DatasetMode

from forecast.core.errors import InvalidRequest, ModelNotReady, NotTrainable
from forecast.core.types import ForecastTask, Series
from forecast.models.base.config import LoraConfig, TrainingMode
from forecast.models.base.torch.training import Batch
from forecast.models.base.windows import Windows
from forecast.models.chronos.covariates import for_training, training_rows
from forecast.models.chronos.model import ChronosModel
from forecast.models.chronos.spec import ChronosConfig
from forecast.models.chronos.tiny import write_bolt
from tests.models.chronos.walks import assert_same, walk

# peft 0.21 asks networks of transformers for a name that is going out of use.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

KINDS = ("bolt", "chronos2", "t5")
HORIZON = 16
TASK = ForecastTask(HORIZON)
FEW = {"max_steps": 2, "horizon": HORIZON, "batch_size": 4}


def sine(steps: int = 96, phase: float = 0.0) -> Series:
    angle = 2 * np.pi * np.arange(steps) / 8 + phase
    return Series(10 + 3 * np.sin(angle)[None], item_id=f"sine {phase}")


def load(folders, kind, **config):
    return ChronosModel.load_model(folders[kind], device="cpu", **config)


@pytest.fixture(scope="module")
def trained(folders):
    """Each kind, after it has seen a few sines often."""
    options = {"learning_rate": 1e-2, "max_steps": 80, "horizon": HORIZON, "batch_size": 8}
    return {
        kind: load(folders, kind, **options).fit([sine(phase=phase) for phase in range(4)])
        for kind in KINDS
    }


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_a_sine(trained, models, kind):
    losses = [entry["loss"] for entry in trained[kind].training_history_ if "loss" in entry]
    assert losses[-1] < 0.8 * losses[0]
    test = [sine(phase=0.5), sine(80, phase=2.5)]
    before, after = (one.evaluate(test, TASK) for one in (models[kind], trained[kind]))
    assert after["wql"] < 0.7 * before["wql"]


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_forecasts_the_same(trained, kind, tmp_path):
    model = trained[kind]
    model.save_model(tmp_path / "saved")
    assert not [file for file in (tmp_path / "saved").rglob("*") if file.suffix in (".pt", ".bin")]
    loaded = ChronosModel.load_model(tmp_path / "saved")
    assert loaded.config == model.config
    assert loaded.training_ == model.training_
    assert_same(loaded.predict([sine()], TASK)[0], model.predict([sine()], TASK)[0], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_trains_the_same_weights_and_another_others(folders, kind):
    first, second, other = (
        load(folders, kind, seed=seed, **FEW).fit([sine()]).network.state_dict()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns_so_processes_that_share_the_training_wait_for_none(folders, kind):
    model = load(folders, kind, horizon=HORIZON)
    batch = Batch.of(model._windows([sine()]).take(np.arange(2)), torch.device("cpu"))
    model._training_loss(model.network, batch).backward()
    names = [name for name, weight in model.network.named_parameters() if weight.grad is None]
    assert names == []


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_are_merged_and_the_checkpoint_is_left_as_it_was(folders, kind, monkeypatch):
    def digest():
        return {file.name: hashlib.sha256(file.read_bytes()).digest() for file in files}

    files = sorted(folders[kind].iterdir())
    before = digest()
    model = load(folders, kind, lora=LoraConfig(rank=1), learning_rate=1e-2, **FEW)
    base = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    adapted = {}
    after_training = ChronosModel._after_training

    def with_adapters(self, network):
        network.eval()
        batch = Batch.of(self._windows([sine()]).take(np.arange(1)), torch.device("cpu"))
        with torch.no_grad():
            adapted["loss"] = self._training_loss(network, batch)
            merged = after_training(self, network)
            torch.testing.assert_close(self._training_loss(merged, batch), adapted["loss"])
        return merged

    monkeypatch.setattr(ChronosModel, "_after_training", with_adapters)
    model.fit([sine()])
    assert adapted["loss"].isfinite()
    changed = {
        name.rpartition(".")[0].rpartition(".")[2]
        for name, weight in model.network.state_dict().items()
        if not torch.equal(weight, base[name])
    }
    assert changed == {"q", "k", "v", "o"}
    assert digest() == before


def test_adapters_of_a_published_size_are_under_a_twentieth_of_its_weights(tmp_path):
    write_bolt(tmp_path, "tiny")
    model = ChronosModel.load_model(tmp_path, device="cpu", lora=LoraConfig())
    adapted = model._before_training(model.network)
    trained, whole = adapted.get_nb_trainable_parameters()
    assert 0 < trained < 0.05 * whole


@pytest.mark.parametrize("kind", KINDS)
def test_gaps_and_a_validation_series_are_coped_with(folders, kind):
    target = sine().target.copy()
    target[0, [5, 40, 41, 90]] = np.nan
    model = load(folders, kind, **FEW)
    model.fit([replace(sine(), target=target), sine(40)], [sine(phase=1.0)])
    assert np.isfinite(model.best_metrics_["validation_loss"])


def with_numbers(steps: int, channels: int = 1) -> Series:
    draw = np.random.default_rng(steps)
    return replace(
        walk(steps, channels=channels),
        past_covariates={"a_known": draw.normal(size=steps), "b_past": draw.normal(size=steps)},
    )


def test_chronos2_is_shown_a_window_as_its_authors_show_it():
    series = with_numbers(50, channels=2)
    prepared, known = for_training([series], ["a_known"])
    windows = Windows(prepared, context_length=64, horizon=8, known_ahead=known)
    past, future, target = training_rows(Batch.of(windows.take(np.array([0])), torch.device("cpu")))
    task = {
        "target": series.target,
        "past_covariates": dict(series.past_covariates),
        "future_covariates": {"a_known": None},
    }
    theirs = Chronos2Dataset(
        [task],
        context_length=64,
        prediction_length=8,
        batch_size=4,
        output_patch_size=16,
        mode=DatasetMode.VALIDATION,
    )
    batch = next(iter(theirs))
    expected = [batch[name] for name in ("context", "future_covariates", "future_target")]
    for ours, their in zip((past, future, target), expected, strict=True):
        torch.testing.assert_close(
            ours[0, :, -their.shape[1] :], their.float(), rtol=1e-6, atol=1e-6, equal_nan=True
        )


def test_chronos2_learns_what_a_covariate_known_ahead_says(folders):
    draw = np.random.default_rng(0)
    told = draw.choice([-1.0, 1.0], size=200)
    series = Series(5 * told[None], past_covariates={"told": told})
    options = {"learning_rate": 1e-2, "max_steps": 400, "horizon": HORIZON, "context_length": 48}
    model = load(folders, "chronos2", known_ahead=("told",), **options).fit([series])
    past = replace(series, target=series.target[:, :100], past_covariates={"told": told[:100]})
    ahead = replace(past, future_covariates={"told": told[100:116]})
    (informed,) = model.predict([ahead], TASK)
    right = np.sign(informed.mean[0]) == told[100:116]
    assert right.mean() > 0.8


def test_covariates_of_text_are_refused_by_name(folders):
    series = replace(sine(), past_covariates={"weather": np.array(["sun", "rain"] * 48)})
    with pytest.raises(InvalidRequest, match="weather are text"):
        load(folders, "chronos2", **FEW).fit([series])


def test_a_name_known_ahead_that_is_no_covariate_is_refused(folders):
    with pytest.raises(InvalidRequest, match="known_ahead names wind"):
        load(folders, "chronos2", known_ahead=("wind",), **FEW).fit([sine()])


def test_covariates_and_channels_of_a_kind_that_takes_none_are_refused(folders):
    with pytest.raises(InvalidRequest, match="cannot learn from the covariates a_known, b_past"):
        load(folders, "bolt", **FEW).fit([with_numbers(100)])
    with pytest.raises(InvalidRequest, match="2 channels"):
        load(folders, "bolt", **FEW).fit([walk(100, channels=2)])


def test_it_is_not_trained_from_scratch_nor_without_weights():
    with pytest.raises(NotTrainable, match="fine_tune"):
        ChronosModel(ChronosConfig(training_mode=TrainingMode.FROM_SCRATCH)).fit([sine()])
    with pytest.raises(ModelNotReady):
        ChronosModel(ChronosConfig()).fit([sine()])


@pytest.mark.parametrize("kind", ["bolt", "chronos2"])
def test_a_validation_split_calibrates_the_quantiles_of_what_was_tuned(folders, kind, tmp_path):
    draw = np.random.default_rng(1)
    noisy = [Series(50 + draw.normal(size=(1, 240)), item_id=str(n)) for n in range(4)]
    model = load(folders, kind, horizon=HORIZON, max_steps=1, batch_size=32)
    model.fit(noisy, [Series(50 + draw.normal(size=(1, 240)))])
    fresh = [Series(50 + draw.normal(size=(1, 96))) for _ in range(20)]
    held = {}
    for intervals, asked in (("conformal", None), ("native", "native")):
        task = replace(TASK, intervals=asked)
        forecasts = model.predict([one.until(80) for one in fresh], task)
        assert {one.intervals for one in forecasts} == {intervals}
        bounds = np.stack([one.quantiles[0, [0, 2]] for one in forecasts])  # [N, 2, H]
        actual = np.stack([one.target[0, 80:] for one in fresh])
        inside = (bounds[:, 0] <= actual) & (actual <= bounds[:, 1])
        held[intervals] = inside.mean()
    assert 0.7 < held["conformal"] < 0.9
    assert abs(held["native"] - 0.8) > 0.1  # the weights are made up
    model.save_model(tmp_path / "saved")
    loaded = ChronosModel.load_model(tmp_path / "saved")
    assert_same(loaded.predict([sine()], TASK)[0], model.predict([sine()], TASK)[0], rtol=1e-6)
