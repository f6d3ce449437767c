"""TiDE trained on small problems that only one thing can solve."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from forecast.core.errors import BadData, InvalidRequest, ModelNotReady
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.models.base.config import LoraConfig
from forecast.models.tide.model import TideModel
from forecast.models.tide.spec import TideConfig

HORIZON = 8
TASK = ForecastTask(horizon=HORIZON)
SMALL = TideConfig(
    device="cpu",
    context_length=24,
    horizon=HORIZON,
    hidden_dim=32,
    num_layers=1,
    decoder_dim=4,
    temporal_decoder_dim=16,
    dropout=0.0,
    batch_size=64,
    learning_rate=3e-3,
    max_epochs=12,
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sine(length: int = 400, *, phase: float = 0.0, noise: float = 0.1) -> Series:
    rng = np.random.default_rng(int(phase * 1000))
    steps = np.arange(length)
    target = 100 + 10 * np.sin(2 * np.pi * steps / 12 + phase) + rng.normal(0, noise, length)
    return Series(
        target=target[None],
        item_id=f"phase {phase}",
        start=np.datetime64("2024-01-01", "s"),
        freq=Frequency.parse("D"),
    )


def cut(series: Series) -> tuple[Series, np.ndarray]:
    past = {name: values[:-HORIZON] for name, values in series.past_covariates.items()}
    ahead = {name: series.past_covariates[name][-HORIZON:] for name in series.future_covariates}
    known = replace(
        series,
        target=series.target[:, :-HORIZON],
        past_covariates=past,
        future_covariates=ahead,
    )
    return known, series.target[:, -HORIZON:]


def error(model: TideModel, series: Series) -> float:
    known, actual = cut(series)
    return float(np.abs(model.predict([known], TASK)[0].mean - actual).mean())


@pytest.fixture(scope="module")
def trained() -> TideModel:
    return TideModel(SMALL).fit([sine(), sine(phase=2.0)], [sine(200, phase=1.0)])


def test_it_learns_a_sine_better_than_the_seasonal_naive(trained):
    known, actual = cut(sine(100, phase=0.7, noise=0.3))
    forecast = trained.predict([known], TASK)[0]
    naive = np.abs(known.target[:, -12:][:, :HORIZON] - actual).mean()
    assert np.abs(forecast.mean - actual).mean() < naive


def test_its_quantiles_cover_what_they_say():
    noisy = sine(1200, noise=3.0)
    model = TideModel(SMALL.model_copy(update={"max_epochs": 4})).fit([noisy])
    inside = []
    for end in range(200, 1190, 7):
        known, actual = cut(replace(noisy, target=noisy.target[:, end - 60 : end]))
        quantiles = model.predict([known], TASK)[0].quantiles
        inside.append((actual > quantiles[:, 0]) & (actual < quantiles[:, 2]))
    assert 0.7 < np.mean(inside) < 0.9


@pytest.mark.parametrize(("level", "unit"), [(0, 1e-9), (1e6, 1e-2), (4.5e7, 1), (1.7e9, 1)])
def test_a_series_moved_and_stretched_gets_its_forecast_moved_and_stretched(trained, level, unit):
    known, _ = cut(sine(100))
    plain = trained.predict([known], TASK)[0]
    moved = trained.predict([replace(known, target=level + unit * known.target)], TASK)[0]
    np.testing.assert_allclose((moved.mean - level) / unit, plain.mean, atol=1e-3)
    np.testing.assert_allclose((moved.quantiles - level) / unit, plain.quantiles, atol=1e-3)


def test_intervals_are_calibrated_on_the_validation_split_unless_the_native_ones_are_asked():
    """The training series are calmer than what comes after: native intervals are too narrow."""
    train, validation, test = (
        sine(600, phase=phase, noise=noise) for phase, noise in ((0.0, 0.5), (1.0, 3.0), (2.0, 3.0))
    )
    model = TideModel(SMALL.model_copy(update={"max_epochs": 4})).fit([train], [validation])
    covered = {
        intervals: coverage_of(model, test, replace(TASK, intervals=intervals))
        for intervals in ("native", "conformal")
    }
    assert covered["native"] < 0.6
    assert covered["conformal"] == pytest.approx(0.8, abs=0.06)


def coverage_of(model: TideModel, series: Series, task: ForecastTask) -> float:
    cuts = [replace(series, target=series.target[:, end - 40 : end]) for end in range(40, 600, 3)]
    known, actual = zip(*map(cut, cuts), strict=True)
    forecasts = model.predict(known, task)
    assert {one.intervals for one in forecasts} == {task.intervals}
    quantiles = np.stack([one.quantiles for one in forecasts])
    inside = (np.stack(actual) > quantiles[:, :, 0]) & (np.stack(actual) < quantiles[:, :, 2])
    return float(inside.mean())


def test_a_validation_series_that_never_changes_leaves_the_native_intervals():
    flat = replace(sine(60), target=np.full((1, 60), 7.0))
    model = TideModel(SMALL.model_copy(update={"max_epochs": 1})).fit([sine(100)], [flat])
    (forecast,) = model.predict([sine(60)], TASK)
    assert (model.calibration_, forecast.intervals) == (None, "native")


def test_a_flat_context_has_a_flat_forecast(trained):
    forecast = trained.predict([replace(sine(), target=np.full((1, 50), 7.0))], TASK)[0]
    np.testing.assert_allclose(forecast.mean, 7.0)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    config = SMALL.model_copy(update={"max_epochs": 1, "dropout": 0.2})
    torch.manual_seed(1)
    one = TideModel(config).fit([sine(120)])
    torch.manual_seed(2)
    same = TideModel(config).fit([sine(120)])
    other = TideModel(config.model_copy(update={"seed": 5})).fit([sine(120)])
    weights = [model.network.state_dict() for model in (one, same, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_training_and_forecasting_leave_the_random_numbers_of_others_alone():
    before = torch.get_rng_state()
    model = TideModel(SMALL.model_copy(update={"max_epochs": 1})).fit([sine(100)])
    model.predict([sine(100)], TASK)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_says_nothing_and_leaves_no_files(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    TideModel(SMALL.model_copy(update={"max_epochs": 1})).fit([sine(100)])
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_progress_is_heard_and_may_end_the_training():
    heard = []

    def after_two(progress):
        heard.append(progress)
        return len(heard) < 2

    model = TideModel(SMALL).fit([sine(200)], [sine(200, phase=1.0)], on_progress=after_two)
    assert len(heard) == 2
    assert heard[-1].validation_loss is not None
    assert model.is_fitted


def test_training_ends_early_without_progress_on_the_validation_series():
    config = SMALL.model_copy(update={"max_epochs": 100, "early_stopping": 1, "seed": 3})
    noise = np.random.default_rng(0).normal(size=(2, 1, 80))
    train, validation = (replace(sine(80), target=target) for target in noise)
    model = TideModel(config).fit([train], [validation])
    assert model.training_history_[-1]["epoch"] < 100


def test_saved_and_loaded_after_training_it_answers_the_same(trained, tmp_path):
    trained.save_model(tmp_path / "saved")
    loaded = TideModel.load_model(tmp_path / "saved")
    known, _ = cut(sine(100))
    before, after = (model.predict([known], TASK)[0] for model in (trained, loaded))
    np.testing.assert_array_equal(before.quantiles, after.quantiles)
    assert loaded.training_ == trained.training_
    record = json.loads((tmp_path / "saved" / "training_metadata.json").read_text())
    assert record["metrics"]["validation_loss"] > 0
    assert not list((tmp_path / "saved").rglob("*.pt"))


def test_weights_of_another_shape_are_refused_with_what_shapes_them(trained, tmp_path):
    trained.save_model(tmp_path / "saved")
    with pytest.raises(BadData, match="hidden_dim"):
        TideModel.load_model(tmp_path / "saved", hidden_dim=16)


def test_damaged_weights_are_refused(trained, tmp_path):
    trained.save_model(tmp_path / "saved")
    weights = tmp_path / "saved" / "weights"
    (weights / "static.json").write_text('{"numbers": 3}')
    with pytest.raises(BadData, match=r"static\.json"):
        TideModel.load_model(tmp_path / "saved")


def test_without_weights_it_is_not_ready():
    with pytest.raises(ModelNotReady, match="train it"):
        TideModel(SMALL).predict([sine()], TASK)


def test_fine_tuning_goes_on_from_the_weights_it_was_given(trained, tmp_path):
    trained.save_model(tmp_path / "saved")
    other = sine(300, phase=0.4)
    tuned = TideModel.load_model(
        tmp_path / "saved", training_mode="fine_tune", max_steps=1, learning_rate=1e-6
    ).fit([other])
    before, after = (model.network.state_dict() for model in (trained, tuned))
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, rtol=0, atol=1e-5)
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert tuned.training_.mode == "fine_tune"


def test_adapters_train_less_and_are_merged(trained, tmp_path):
    trained.save_model(tmp_path / "saved")
    tuned = TideModel.load_model(
        tmp_path / "saved", training_mode="fine_tune", max_steps=3, lora=LoraConfig(rank=2)
    ).fit([sine(200, phase=0.4)])
    before, after = trained.network.state_dict(), tuned.network.state_dict()
    assert before.keys() == after.keys()
    assert torch.equal(before["global_skip.bias"], after["global_skip.bias"])
    assert not torch.equal(before["global_skip.weight"], after["global_skip.weight"])


def test_an_interrupted_training_resumes_to_the_same_weights(tmp_path):
    config = SMALL.model_copy(update={"max_epochs": 3, "dropout": 0.2})
    whole = TideModel(config).fit([sine(120)])
    interrupted = TideModel(config)
    interrupted.fit([sine(120)], on_progress=lambda progress: False, checkpoints=tmp_path)
    resumed = TideModel(config).fit([sine(120)], checkpoints=tmp_path)
    for name, weight in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], weight)


def test_channels_are_forecast_alone_by_the_same_weights():
    two = replace(
        sine(300),
        target=np.vstack([sine(300).target, sine(300, phase=1.0).target]),
        channels=("a", "b"),
    )
    model = TideModel(SMALL.model_copy(update={"max_epochs": 2})).fit([two])
    both = model.predict([two], TASK)[0]
    swapped = model.predict([replace(two, target=two.target[::-1])], TASK)[0]
    np.testing.assert_allclose(both.mean, swapped.mean[::-1])
    with pytest.raises(InvalidRequest, match="channels"):
        model.predict([sine(300)], TASK)
