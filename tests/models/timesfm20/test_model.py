from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from forecast.core.errors import BadData, InvalidRequest
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask
from forecast.models.timesfm20.model import TimesFM20Model
from forecast.models.timesfm20.network import masked_moments
from forecast.models.timesfm20.spec import TimesFM20Options
from tests.models.calibration import CONFIG, calibrates_by_validation

DECILES = tuple(decile / 10 for decile in range(1, 10))
LENGTHS = [1, 2, 3, 31, 32, 33, 100, 300, 512]
TIMESFM25_CONFIG = '{"model_type": "timesfm2_5"}'


def task_of(horizon=24, levels=DECILES, **options):
    return ForecastTask(
        horizon=horizon, quantile_levels=levels, options=TimesFM20Options(**options)
    )


def heads_of(forecast):
    """Mean and deciles as the library has them: [H, 10]."""
    return np.concatenate([forecast.mean, forecast.quantiles[0]]).T


def in_order(heads):
    """The library's heads with the quantiles put in order, as ours are."""
    return np.concatenate([heads[..., :1], np.sort(heads[..., 1:], axis=-1)], axis=-1)


def tensors_of(batch):
    return [torch.tensor(series.target[0], dtype=torch.float32) for series in batch]


@torch.inference_mode()
def with_the_library(library, batch, **arguments):
    answer = library(past_values=tensors_of(batch), **arguments)
    return in_order(answer.full_predictions.numpy())


def test_forecasts_are_those_of_the_library(model, library, series_of):
    batch = [series_of(steps, seed=steps) for steps in LENGTHS if steps > 1]
    expected = with_the_library(library, batch, freq=[0] * len(batch))
    for forecast, heads in zip(model.predict(batch, task_of(128)), expected, strict=True):
        np.testing.assert_allclose(heads_of(forecast), heads, rtol=1e-4, atol=1e-3)


def test_a_single_step_is_forecast_as_itself_with_a_word_on_its_quantiles(model, series_of):
    (forecast,) = model.predict([series_of(1)], task_of())
    np.testing.assert_array_equal(heads_of(forecast), series_of(1).target.item())
    assert any("says nothing of its spread" in warning for warning in forecast.warnings)


def test_further_blocks_are_those_of_the_library_where_the_context_is_full(
    model, library, series_of, monkeypatch
):
    batch = [series_of(512), series_of(700, seed=1)]
    monkeypatch.setattr(library, "horizon_len", 384)
    expected = with_the_library(library, batch)
    for forecast, heads in zip(model.predict(batch, task_of(384)), expected, strict=True):
        np.testing.assert_allclose(heads_of(forecast), heads, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("steps", [5, 100, 512])
def test_further_blocks_follow_from_the_means_before_them(model, series_of, steps):
    series = series_of(steps)
    (forecast,) = model.predict([series], task_of(300))
    (first,) = model.predict([series], task_of(128))
    longer = replace(series, target=np.concatenate([series.target, first.mean], axis=1))
    (second,) = model.predict([longer], task_of(128))
    np.testing.assert_allclose(
        heads_of(forecast)[:256],
        np.concatenate([heads_of(first), heads_of(second)]),
        rtol=1e-4,
        atol=1e-3,
    )


@pytest.mark.parametrize(("alias", "number"), [("D", 0), ("MS", 1), ("QS", 2)])
def test_the_network_is_told_the_frequency_of_each_series(model, library, series_of, alias, number):
    series = series_of(freq=Frequency.parse(alias))
    expected = with_the_library(library, [series], freq=[number])[0]
    other = series_of(freq=Frequency.parse("W" if number != 1 else "D"))
    (forecast, unlike) = model.predict([series, other], task_of(128))
    np.testing.assert_allclose(heads_of(forecast), expected, rtol=1e-4, atol=1e-3)
    assert np.abs(heads_of(unlike) - expected).max() > 1e-2
    (told,) = model.predict([series_of()], task_of(128, frequency_input=number))
    np.testing.assert_allclose(heads_of(told), expected, rtol=1e-4, atol=1e-3)


def test_each_series_has_its_own_floor_at_zero_where_asked(model, series_of):
    above = series_of(90, target=np.abs(series_of(90, level=0.0).target))
    below = series_of(90, seed=1, level=0.0)
    floored, free = model.predict([above, below], task_of(100, truncate_negative=True))
    (plain,) = model.predict([above], task_of(100))
    np.testing.assert_array_equal(heads_of(floored), np.maximum(heads_of(plain), 0))
    assert plain.quantiles.min() < 0
    assert free.quantiles.min() < 0


def test_moments_are_the_librarys_except_where_the_patch_is_flat(model):
    random = np.random.default_rng(0)
    patches = torch.tensor(random.normal(5, 2, (3, 4, 32)), dtype=torch.float32)
    patches[1, 0] = 7.0
    padding = torch.zeros_like(patches)
    theirs = type(model.network.decoder)._timesfm_masked_mean_std(patches, padding)
    means, deviations = masked_moments(patches, padding)
    assert torch.equal(means, theirs[0])
    assert deviations[1] == 1
    assert theirs[1][1] < 1e-6
    assert torch.equal(deviations[[0, 2]], theirs[1][[0, 2]])


@pytest.mark.parametrize(("short", "long"), [(1, 128), (128, 256), (130, 500)])
def test_a_longer_horizon_has_the_same_beginning(model, series_of, short, long):
    batch = [series_of(20), series_of(200, seed=1)]
    for one, other in zip(
        model.predict(batch, task_of(short)), model.predict(batch, task_of(long)), strict=True
    ):
        np.testing.assert_allclose(
            heads_of(one), heads_of(other.first(short)), rtol=1e-4, atol=1e-3
        )


@pytest.mark.parametrize(("asked", "shared"), [(1, 128), (128, 128), (129, 256)])
def test_horizons_of_as_many_blocks_share_a_call(model, series_of, asked, shared):
    assert model.batch_key(series_of(), task_of(asked)).task.horizon == shared


def test_the_context_is_what_the_checkpoint_says(model, series_of):
    assert model.capabilities.max_context == 512
    long = series_of(900)
    (one,) = model.predict([long], task_of())
    (other,) = model.predict([long.last(512)], task_of())
    np.testing.assert_array_equal(heads_of(one), heads_of(other))


def test_the_longest_horizon_is_answered_and_a_longer_one_refused(model, series_of):
    limit = model.capabilities.max_horizon
    (forecast,) = model.predict([series_of(40)], task_of(limit, levels=(0.5,)))
    assert forecast.mean.shape == (1, limit)
    with pytest.raises(InvalidRequest, match=str(limit)):
        model.predict([series_of(40)], task_of(limit + 1))


def test_missing_steps_are_interpolated_and_missing_beginnings_dropped(model, series_of):
    holed = series_of(60).target.copy()
    holed[0, :9] = np.nan
    holed[0, [20, 21, 58]] = np.nan
    filled = holed[:, 9:].copy()
    steps, seen = np.arange(51), ~np.isnan(filled[0])
    filled[0] = np.interp(steps, steps[seen], filled[0][seen])
    one, other = (
        model.predict([series_of(target=target)], task_of())[0] for target in (holed, filled)
    )
    np.testing.assert_array_equal(heads_of(one), heads_of(other))


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_a_batch_in_any_order_and_size_answers_as_its_members_alone(
    folder, model, series_of, batch_size
):
    small = TimesFM20Model.load_model(folder, device="cpu", batch_size=batch_size)
    batch = [series_of(steps, seed=steps) for steps in LENGTHS[::-1]]
    for series, together in zip(batch, small.predict(batch, task_of(200)), strict=True):
        (alone,) = model.predict([series], task_of(200))
        np.testing.assert_allclose(heads_of(together), heads_of(alone), rtol=1e-4, atol=1e-3)


def test_a_saved_model_answers_the_same(model, series_of, tmp_path):
    model.save_model(tmp_path / "saved")
    again = TimesFM20Model.load_model(tmp_path / "saved")
    (one,), (other,) = (each.predict([series_of()], task_of()) for each in (model, again))
    np.testing.assert_array_equal(heads_of(one), heads_of(other))


def test_the_tiny_model_is_the_same_every_time_and_leaves_chance_alone(series_of):
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    one, other = (TimesFM20Model.tiny().predict([series_of()], task_of())[0] for _ in range(2))
    np.testing.assert_array_equal(heads_of(one), heads_of(other))
    assert torch.equal(before, torch.random.get_rng_state())


def copy_of(folder, path, *, config=True, weights=True):
    for name, wanted in {"config.json": config, "model.safetensors": weights}.items():
        if wanted:
            (path / name).write_bytes((folder / name).read_bytes())
    return path


def test_a_pickled_checkpoint_is_not_read(folder, tmp_path):
    copy_of(folder, tmp_path, weights=False)
    (tmp_path / "torch_model.ckpt").write_bytes(b"a pickle")
    with pytest.raises(BadData, match="no model.safetensors"):
        TimesFM20Model.load_model(tmp_path)


def test_a_folder_without_a_config_is_refused(folder, tmp_path):
    with pytest.raises(BadData, match=r"no readable config\.json"):
        TimesFM20Model.load_model(copy_of(folder, tmp_path, config=False))


def test_another_models_checkpoint_is_refused(folder, tmp_path):
    copy_of(folder, tmp_path, config=False)
    (tmp_path / "config.json").write_text(TIMESFM25_CONFIG)
    with pytest.raises(BadData, match="'timesfm2_5', not 'timesfm'"):
        TimesFM20Model.load_model(tmp_path)


def test_a_missing_tensor_is_refused_rather_than_made_up(folder, tmp_path):
    file = copy_of(folder, tmp_path) / "model.safetensors"
    tensors = load_file(file)
    del tensors["decoder.layers.1.self_attn.q_proj.weight"]
    save_file(dict(tensors), file, metadata={"format": "pt"})
    with pytest.raises(BadData, match="q_proj"):
        TimesFM20Model.load_model(tmp_path)


def test_a_tensor_of_another_shape_is_refused(folder, tmp_path):
    file = copy_of(folder, tmp_path) / "model.safetensors"
    tensors = load_file(file)
    name = "decoder.layers.0.self_attn.scaling"
    save_file({**tensors, name: torch.ones(5)}, file, metadata={"format": "pt"})
    with pytest.raises(BadData, match="of another shape.*scaling"):
        TimesFM20Model.load_model(tmp_path)


def test_a_damaged_file_is_refused(folder, tmp_path):
    file = copy_of(folder, tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BadData, match="damaged"):
        TimesFM20Model.load_model(tmp_path)


def test_an_option_that_is_not_there_is_refused():
    with pytest.raises(ValidationError):
        TimesFM20Options(force_flip_invariance=True)


@pytest.mark.parametrize(
    ("unit", "level"), [(1e-9, 0.0), (1e-9, 1e-3), (4.5e7, 0.0), (1.0, 1.7e9), (1.0, -1e12)]
)
@pytest.mark.parametrize("horizon", [None, 24])
def test_a_forecast_moves_and_stretches_with_its_series(model, series_of, unit, level, horizon):
    near = series_of(96, horizon=horizon)
    past = {name: values for name, values in near.past_covariates.items() if name != "price"}
    future = {name: values for name, values in near.future_covariates.items() if name != "price"}
    if horizon:
        past["price"] = near.past_covariates["price"] * unit
        future["price"] = near.future_covariates["price"] * unit
    far = replace(
        near,
        target=near.target * unit + level,
        past_covariates=past,
        future_covariates=future,
    )
    expected, told = (model.predict([series], task_of())[0] for series in (near, far))
    np.testing.assert_allclose((heads_of(told) - level) / unit, heads_of(expected), atol=2e-3)


def test_a_flat_beginning_leaves_the_unit_without_effect(model, series_of):
    target = np.concatenate([np.zeros((1, 64)), series_of(64).target], axis=1)
    one, other = (
        model.predict([series_of(target=target * unit)], task_of())[0] for unit in (1.0, 1e-6)
    )
    np.testing.assert_allclose(heads_of(other) * 1e6, heads_of(one), rtol=1e-3)


def test_a_validation_split_calibrates_the_quantiles_of_what_was_tuned(folder, tmp_path):
    model = TimesFM20Model.load_model(folder, **CONFIG, training_mode="fine_tune")
    calibrates_by_validation(model, tmp_path / "saved")
