import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from forecast.core.accuracy import mae
from forecast.core.errors import InvalidRequest
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.models.base.config import LoraConfig
from forecast.models.base.scaling import Scaler
from forecast.models.base.torch.training import Batch
from forecast.models.ttm.model import TTMModel
from forecast.models.ttm.spec import TTMConfig
from forecast.models.ttm.tiny import write_tiny
from tests.models.ttm.waves import wave

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft
CLOSE = {"rtol": 1e-3, "atol": 1e-4}
TASK = ForecastTask(horizon=16, quantile_levels=(0.1, 0.5, 0.9))
QUICK = {"max_epochs": 2, "stride": 4, "batch_size": 32, "learning_rate": 3e-3, "device": "cpu"}


def loaded(folder: Path, **options: object) -> TTMModel:
    return TTMModel.load_model(folder, **(QUICK | options))


def error_of(model: TTMModel, series: Series) -> float:
    past, actual = series.target[:, :-16], series.target[0, -16:]
    known = Series(target=past, start=series.start, freq=series.freq)
    return mae(actual, model.predict([known], TASK)[0].mean[0])


def windows_of(model: TTMModel) -> Batch:
    windows = model._windows([wave(120), wave(120, phase=1, seed=1)])
    return Batch.of(windows.take(np.arange(8)), torch.device("cpu"))


def loss_of_library(model: TTMModel, batch: Batch) -> torch.Tensor:
    past, future = batch.past.transpose(1, 2), batch.future.transpose(1, 2)
    return model.network(past_values=past, future_values=future).loss


def weights_of(model: TTMModel) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.network.state_dict().items()}


def changed(before: dict[str, torch.Tensor], model: TTMModel) -> set[str]:
    after = weights_of(model)
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_fine_tuned_it_beats_the_naive_forecast_and_itself_before(kind, folders):
    model = loaded(folders[kind], max_epochs=5, stride=3, learning_rate=3e-2)
    unseen = wave(96, phase=0.7, seed=9)
    before = error_of(model, unseen)
    model.fit([wave(300), wave(300, phase=1.5, seed=1)], [wave(100, phase=3, seed=2)])
    naive = mae(unseen.target[0, -16:], np.full(16, unseen.target[0, -17]))
    assert error_of(model, unseen) < 0.2 * min(before, naive)


def test_intervals_learned_from_validation_cover_what_they_promise(folders):
    model = loaded(folders["r2"], max_epochs=10, learning_rate=1e-2)
    noisy = [wave(300, phase=phase, noise=1.0, seed=int(phase)) for phase in range(6)]
    model.fit(noisy[:3], noisy[3:5])
    assert model.calibration_ is not None
    assert model.capabilities.max_context == 32
    measures = [
        model.evaluate([noisy[5].last(48 + shift)], TASK)["coverage_80"]
        for shift in range(0, 120, 6)
    ]
    assert np.mean(measures) == pytest.approx(0.8, abs=0.12)


@pytest.mark.parametrize("kind", ["r2", "r3"])
def test_the_loss_is_the_librarys_own(kind, folders):
    model = loaded(folders[kind])
    batch = windows_of(model)
    torch.testing.assert_close(
        model._training_loss(model.network, batch), loss_of_library(model, batch), **CLOSE
    )


def test_where_trend_and_rest_are_apart_it_is_the_librarys_loss_of_the_whole(folders):
    model = loaded(folders["r3-dec"])
    network = model.network
    network.trend_loss_weight = network.residual_loss_weight = 0.0
    batch = windows_of(model)
    scaler = Scaler.of(batch.past, batch.past_observed)  # the library's loss is in these units
    past, future = (scaler.apply(one).float() for one in (batch.past, batch.future))
    batch = replace(batch, past=past, future=future)
    torch.testing.assert_close(
        model._training_loss(network, batch), loss_of_library(model, batch), **CLOSE
    )


def test_a_checkpoint_of_absolute_errors_is_trained_by_them(tmp_path):
    write_tiny(tmp_path, loss="mae")
    model = loaded(tmp_path)
    batch = windows_of(model)
    torch.testing.assert_close(
        model._training_loss(model.network, batch), loss_of_library(model, batch), **CLOSE
    )


def test_a_linear_probe_leaves_the_backbone_as_it_is(kind, folders):
    model = loaded(folders[kind], tuning="linear_probe")
    before = weights_of(model)
    model.fit([wave(120)])
    names = changed(before, model)
    assert any("head" in name for name in names)
    assert not [name for name in names if "backbone" in name]
    assert all(weight.requires_grad for weight in model.network.parameters())


def test_adapters_are_merged_into_a_plain_network(kind, folders, tmp_path):
    model = loaded(folders[kind], lora=LoraConfig(rank=2))
    before = weights_of(model)
    model.fit([wave(120)])
    assert set(weights_of(model)) == set(before)
    assert changed(before, model)
    model.save_model(tmp_path / "saved")
    again = TTMModel.load_model(tmp_path / "saved")
    np.testing.assert_allclose(
        again.predict([wave(40)], TASK)[0].quantiles,
        model.predict([wave(40)], TASK)[0].quantiles,
        rtol=1e-5,
    )


def test_adapters_and_a_linear_probe_exclude_each_other():
    with pytest.raises(ValidationError, match="leave tuning at full"):
        TTMConfig(lora=LoraConfig(), tuning="linear_probe")


def test_the_same_seed_gives_the_same_weights(folders):
    one = loaded(folders["r2"], seed=3).fit([wave(120)])
    same = loaded(folders["r2"], seed=3).fit([wave(120)])
    other = loaded(folders["r2"], seed=4).fit([wave(120)])
    assert changed(weights_of(one), same) == set()
    assert changed(weights_of(one), other)


def test_only_the_newest_share_of_a_series_is_learned_from(folders):
    series = wave(400)
    one = loaded(folders["r2"], few_shot=0.25).fit([series])
    same = loaded(folders["r2"]).fit([series.last(100)])
    assert changed(weights_of(one), same) == set()
    least = loaded(folders["r2"], few_shot=0.001).fit([series])
    window = loaded(folders["r2"]).fit([series.last(48)])
    assert changed(weights_of(least), window) == set()


def test_saved_and_loaded_it_answers_the_same_and_has_its_record(folders, tmp_path):
    model = loaded(folders["r2"]).fit([wave(120)], [wave(120, seed=5)], data_reference="waves")
    model.save_model(tmp_path / "saved")
    record = json.loads((tmp_path / "saved/training_metadata.json").read_text())
    assert record["data_reference"] == "waves"
    assert record["metrics"]["validation_loss"] > 0
    again = TTMModel.load_model(tmp_path / "saved")
    assert again.config == model.config
    np.testing.assert_allclose(
        again.predict([wave(40)], TASK)[0].quantiles,
        model.predict([wave(40)], TASK)[0].quantiles,
        rtol=1e-5,
    )


def test_an_interrupted_training_is_resumed(folders, tmp_path):
    whole = loaded(folders["r2"], max_epochs=4).fit([wave(120)])
    stopped = loaded(folders["r2"], max_epochs=4)
    stopped.fit([wave(120)], checkpoints=tmp_path, on_progress=lambda report: report.epoch != 2)
    resumed = loaded(folders["r2"], max_epochs=4).fit([wave(120)], checkpoints=tmp_path)
    assert changed(weights_of(whole), resumed) == set()


def test_a_training_that_fails_changes_nothing(folders):
    model = loaded(folders["r2"], mix_channels=True)
    before = weights_of(model)

    def fail(report: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit([wave(120)], on_progress=fail)
    assert changed(before, model) == set()
    assert model.features is None
    assert not model.is_fitted
    model.predict([wave(40)], TASK)


def test_missing_and_constant_values_train_too(kind, folders):
    gappy = wave(200)
    gappy.target[0, ::5] = np.nan
    flat = Series(target=np.full((1, 200), 4.0), start=gappy.start, freq=gappy.freq)
    model = loaded(folders[kind]).fit([gappy, flat, wave(20)], [wave(100, seed=3)])
    assert np.isfinite(model.best_metrics_["validation_loss"])


def test_series_of_several_frequencies_need_a_checkpoint_that_does_not_read_them(tmp_path):
    write_tiny(tmp_path, resolution_prefix_tuning=True, frequency_token_vocab_size=10)
    daily = wave(120)
    hourly = Series(target=daily.target, start=daily.start, freq=Frequency.parse("h"))
    with pytest.raises(InvalidRequest, match="one frequency at a time"):
        loaded(tmp_path).fit([daily, hourly])
    loaded(tmp_path).fit([hourly])
