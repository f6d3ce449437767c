"""Both TimesFM learn: whole, or by adapters."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("timesfm", reason="pip install 'forecast-gateway[timesfm]'")

from forecast.core.errors import InvalidRequest, ModelNotReady, NotTrainable
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.models.base.config import LoraConfig, TrainingMode, TuningConfig
from forecast.models.base.torch.training import Batch
from forecast.models.timesfm20.model import TimesFM20Model
from forecast.models.timesfm20.tiny import write_tiny as write_tiny20
from forecast.models.timesfm25.model import TimesFM25Model, mirrored
from forecast.models.timesfm25.port import port_of
from forecast.models.timesfm25.spec import TimesFM25Options
from forecast.models.timesfm25.tiny import write_tiny as write_tiny25

# peft 0.21 asks networks of transformers for a name that is going out of use.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

FAMILIES = {
    "timesfm20": (TimesFM20Model, write_tiny20),
    "timesfm25": (TimesFM25Model, write_tiny25),
}
HORIZON = 16
TASK = ForecastTask(HORIZON)
FEW = {"max_steps": 2, "horizon": HORIZON, "batch_size": 4}


def sine(steps: int = 96, phase: float = 0.0) -> Series:
    angle = 2 * np.pi * np.arange(steps) / 8 + phase
    return Series(10 + 3 * np.sin(angle)[None], item_id=f"sine {phase}")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    found = {name: tmp_path_factory.mktemp(name) for name in FAMILIES}
    for name, folder in found.items():
        FAMILIES[name][1](folder)
    return found


@pytest.fixture(params=list(FAMILIES))
def family(request):
    return request.param


@pytest.fixture(scope="module")
def load(folders):
    def make(family, **config):
        return FAMILIES[family][0].load_model(folders[family], device="cpu", **config)

    return make


@pytest.fixture(scope="module")
def trained(load):
    """Each family, after it has seen a few sines often."""
    options = {"learning_rate": 3e-3, "max_steps": 80, "horizon": HORIZON, "batch_size": 8}
    return {
        family: load(family, **options).fit([sine(phase=phase) for phase in range(4)])
        for family in FAMILIES
    }


def a_batch(model, count=2):
    return Batch.of(model._windows([sine()]).take(np.arange(count)), torch.device("cpu"))


def test_it_learns_a_sine(trained, load, family):
    losses = [entry["loss"] for entry in trained[family].training_history_ if "loss" in entry]
    assert losses[-1] < 0.8 * losses[0]
    test = [sine(phase=0.5), sine(80, phase=2.5)]
    before, after = (one.evaluate(test, TASK) for one in (load(family), trained[family]))
    assert after["wql"] < 0.7 * before["wql"]
    assert after["rmse"] < 0.7 * before["rmse"]


def test_saved_and_loaded_it_forecasts_the_same(trained, family, tmp_path):
    model = trained[family]
    model.save_model(tmp_path / "saved")
    loaded = type(model).load_model(tmp_path / "saved")
    assert loaded.config == model.config
    assert loaded.training_ == model.training_
    (one,), (other,) = (each.predict([sine()], TASK) for each in (model, loaded))
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.quantiles, other.quantiles)


def test_the_same_seed_trains_the_same_weights_and_another_others(load, family):
    first, second, other = (
        load(family, seed=seed, **FEW).fit([sine()]).network.state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_every_weight_learns_so_processes_that_share_the_training_wait_for_none(load, family):
    model = load(family, horizon=HORIZON)
    batch = a_batch(model)
    network = model._training_network([sine()])
    model._training_loss(network.train(), batch).backward()
    names = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert names == []


def test_adapters_are_merged_and_the_checkpoint_is_left_as_it_was(load, folders, family):
    def digest():
        files = sorted(folders[family].iterdir())
        return {file.name: hashlib.sha256(file.read_bytes()).digest() for file in files}

    before = digest()
    model = load(family, lora=LoraConfig(rank=2), learning_rate=1e-2, **FEW)
    base = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    batch = a_batch(model)
    adapted = model._before_training(model._training_network([sine()])).eval()
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:  # 0 before training
                weight.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
        before_merging = model._training_loss(adapted, batch)
        merged = adapted.merge_and_unload()
        torch.testing.assert_close(model._training_loss(merged, batch), before_merging)
    model.fit([sine()])
    changed = {
        name.removesuffix(".weight").rpartition(".")[2]
        for name, weight in model.network.state_dict().items()
        if not torch.equal(weight, base[name])
    }
    projections = {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert changed == (projections if family == "timesfm20" else {"qkv_proj", "out"})
    assert digest() == before


def test_a_training_that_fails_leaves_the_model_as_it_was(load, family):
    model = load(family, **FEW)
    (before,) = model.predict([sine()], TASK)

    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit([sine()], on_progress=interrupt)
    (after,) = model.predict([sine()], TASK)
    np.testing.assert_array_equal(before.mean, after.mean)
    assert not model.is_fitted


def test_a_series_counts_the_same_in_any_unit(load, family):
    model = load(family, horizon=HORIZON)
    network = model._training_network([sine()]).eval()
    batch = a_batch(model)
    larger = replace(batch, past=1000 * batch.past, future=1000 * batch.future)
    with torch.no_grad():
        small, large = (model._training_loss(network, one) for one in (batch, larger))
    torch.testing.assert_close(small, large, rtol=1e-3, atol=1e-4)


def test_gaps_short_series_and_validation_are_coped_with(load, family):
    target = sine().target.copy()
    target[0, [5, 40, 41, 90]] = np.nan
    model = load(family, **FEW)
    model.fit([replace(sine(), target=target), sine(20)], [sine(40, phase=1.0)])
    assert np.isfinite(model.best_metrics_["validation_loss"])


def test_covariates_are_refused(load, family):
    series = replace(
        sine(),
        past_covariates={"price": np.arange(96.0)},
        future_covariates={"price": np.arange(4.0)},
    )
    with pytest.raises(InvalidRequest, match="targets alone"):
        load(family, **FEW).fit([series])


def test_it_is_not_trained_from_scratch_nor_without_weights(load, family):
    with pytest.raises(NotTrainable, match="fine_tune"):
        load(family, training_mode=TrainingMode.FROM_SCRATCH).fit([sine()])
    with pytest.raises(ModelNotReady):
        FAMILIES[family][0](TuningConfig(horizon=HORIZON)).fit([sine()])


def test_the_port_of_25_computes_what_the_native_network_does(load):
    model = load("timesfm25")
    port = port_of(model.network.state_dict()).eval()
    with torch.no_grad():
        answer = port(
            past_values=[torch.tensor(sine().target[0], dtype=torch.float32)],
            forecast_context_len=128,
            truncate_negative=False,
            force_flip_invariance=True,
        ).full_predictions
    task = ForecastTask(
        128, quantile_levels=model.levels, options=TimesFM25Options(infer_is_positive=False)
    )
    (forecast,) = model.predict([sine()], task)
    ours = np.concatenate([forecast.mean, forecast.quantiles[0]])
    theirs = answer[0].numpy().T
    theirs[1:6] = np.minimum.accumulate(theirs[5:0:-1])[::-1]  # the package uncrosses them
    theirs[5:] = np.maximum.accumulate(theirs[5:])
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_half_of_the_windows_are_mirrored_whole(load):
    batch = a_batch(load("timesfm25", horizon=HORIZON), count=40)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        mirror = mirrored(batch)
    turned = (mirror.past == -batch.past).all(dim=-1)[:, 0]
    assert 10 < turned.sum() < 30
    assert torch.equal(turned, (mirror.future == -batch.future).all(dim=-1)[:, 0])
    assert torch.equal(mirror.past.abs(), batch.past.abs())


def test_the_classes_of_frequency_of_20_are_not_mixed(load):
    start = np.datetime64("2024-01-01", "s")
    daily, monthly = (
        replace(sine(), start=start, freq=Frequency.parse(alias)) for alias in ("D", "MS")
    )
    with pytest.raises(InvalidRequest, match="classes of frequency"):
        load("timesfm20", **FEW).fit([daily, monthly])
    model = load("timesfm20", **FEW).fit([monthly])
    assert model._trained_class == 1
