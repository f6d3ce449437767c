from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from timesfm import ForecastConfig
from transformers import TimesFm2_5ModelForPrediction

from forecast.core.errors import BadData, InvalidRequest
from forecast.core.types import ForecastTask
from forecast.models.timesfm25.model import DECILES, TimesFM25Model
from forecast.models.timesfm25.spec import TimesFM25Options
from forecast.models.timesfm25.tiny import write_tiny
from tests.models.calibration import CONFIG, calibrates_by_validation

AS_PUBLISHED = {
    "normalize_inputs": True,
    "use_continuous_quantile_head": True,
    "force_flip_invariance": True,
    "infer_is_positive": True,
    "fix_quantile_crossing": True,
}
LENGTHS = [2, 3, 31, 32, 33, 100, 300, 513]


def task_of(horizon=24, levels=DECILES, **options):
    return ForecastTask(
        horizon=horizon, quantile_levels=levels, options=TimesFM25Options(**options)
    )


def heads_of(forecast):
    """Mean and deciles as the library has them: [H, 10]."""
    return np.concatenate([forecast.mean, forecast.quantiles[0]]).T


@pytest.mark.parametrize("horizon", [1, 24, 128, 129, 300])
def test_forecasts_are_those_of_the_library(model, library, series_of, horizon):
    batch = [series_of(steps, seed=steps) for steps in LENGTHS]
    library.compile(
        ForecastConfig(max_context=1024, max_horizon=384, per_core_batch_size=4, **AS_PUBLISHED)
    )
    _, expected = library.forecast(horizon, [series.target[0] for series in batch])
    answers = model.predict(batch, task_of(horizon))
    for forecast, heads in zip(answers, expected, strict=True):
        np.testing.assert_allclose(heads_of(forecast), heads, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "option", ["force_flip_invariance", "infer_is_positive", "use_continuous_quantile_head"]
)
def test_each_option_is_the_librarys_flag(model, library, series_of, option):
    series = series_of(level=5.0, target=np.abs(series_of(90, level=5.0).target))
    library.compile(
        ForecastConfig(max_context=128, max_horizon=128, **(AS_PUBLISHED | {option: False}))
    )
    _, expected = library.forecast(24, [series.target[0]])
    (off,) = model.predict([series], task_of(**{option: False}))
    (on,) = model.predict([series], task_of())
    np.testing.assert_allclose(heads_of(off), expected[0], rtol=1e-4, atol=1e-4)
    assert np.abs(heads_of(on) - heads_of(off)).max() > 1e-2


def test_both_layouts_forecast_equally(model, series_of, tmp_path):
    write_tiny(tmp_path, "transformers")
    other = TimesFM25Model.load_model(tmp_path, device="cpu")
    batch = [series_of(steps, seed=steps) for steps in LENGTHS]
    for one, two in zip(
        model.predict(batch, task_of(200)), other.predict(batch, task_of(200)), strict=True
    ):
        np.testing.assert_array_equal(heads_of(one), heads_of(two))


def test_forecasts_are_those_of_the_transformers_port(model, series_of, tmp_path):
    write_tiny(tmp_path, "transformers")
    port = TimesFm2_5ModelForPrediction.from_pretrained(tmp_path, local_files_only=True)
    series = series_of(100)
    with torch.inference_mode():
        answer = port(
            past_values=[torch.tensor(series.target[0], dtype=torch.float32)],
            forecast_context_len=128,
            truncate_negative=False,
        )
    expected = answer.full_predictions[0].numpy()
    (forecast,) = model.predict([series], task_of(128, infer_is_positive=False))
    np.testing.assert_allclose(forecast.mean[0], expected[:, 0], rtol=1e-4, atol=1e-3)
    # The port leaves crossed quantiles crossed; the median is the same in any order.
    np.testing.assert_allclose(forecast.quantiles[0, 4], expected[:, 5], rtol=1e-4, atol=1e-3)


def test_the_mirror_image_is_forecast_as_the_mirror_image(model, series_of):
    series = series_of(70)
    mirrored = replace(series, target=-series.target)
    one, other = model.predict([series, mirrored], task_of(infer_is_positive=False))
    np.testing.assert_allclose(other.mean, -one.mean, rtol=1e-4, atol=1e-3)


def test_each_series_has_its_own_floor_at_zero(model, series_of):
    above = series_of(90, level=5.0, target=np.abs(series_of(90, level=0.0).target))
    below = series_of(90, seed=1, level=0.0)
    assert (below.target < 0).any()
    floored, free = model.predict([above, below], task_of(100))
    assert floored.quantiles.min() == 0
    assert free.quantiles.min() < 0


@pytest.mark.parametrize(
    ("short", "long"), [(1, 128), (100, 128), (128, 256), (130, 1024), (1025, 1152)]
)
def test_a_longer_horizon_has_the_same_beginning(model, series_of, short, long):
    batch = [series_of(20), series_of(200, seed=1)]
    for one, other in zip(
        model.predict(batch, task_of(short)), model.predict(batch, task_of(long)), strict=True
    ):
        np.testing.assert_allclose(
            heads_of(one), heads_of(other.first(short)), rtol=1e-4, atol=1e-3
        )


@pytest.mark.parametrize(
    ("asked", "shared"), [(1, 128), (128, 128), (129, 256), (1024, 1024), (1025, 1152)]
)
def test_horizons_of_as_many_blocks_share_a_call(model, series_of, asked, shared):
    assert model.batch_key(series_of(), task_of(asked)).task.horizon == shared


def test_a_horizon_with_covariates_shares_no_call_with_another(model, series_of):
    assert model.batch_key(series_of(horizon=24), task_of(24)).task.horizon == 24


def test_quantiles_beyond_their_head_are_the_point_heads_and_say_so(model, series_of):
    series = series_of()
    (long,) = model.predict([series], task_of(1100))
    (point,) = model.predict([series], task_of(1100, use_continuous_quantile_head=False))
    np.testing.assert_array_equal(heads_of(long), heads_of(point))
    assert "1024" in long.warnings[0]
    assert point.warnings == ()


def test_a_long_context_leaves_room_for_the_horizon(model, library, series_of):
    series = series_of(17_000)
    library.compile(ForecastConfig(max_context=16_384 - 256, max_horizon=256, **AS_PUBLISHED))
    _, expected = library.forecast(130, [series.target[0]])
    (forecast,) = model.predict([series], task_of(130))
    np.testing.assert_allclose(heads_of(forecast), expected[0], rtol=1e-4, atol=1e-3)


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


def test_a_context_without_a_value_is_refused(model, series_of):
    target = series_of(60).target.copy()
    target[0, 30:] = np.nan
    with pytest.raises(BadData, match="no observed value in"):
        model.predict([series_of(target=target)], replace(task_of(), context_length=20))


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_a_batch_in_any_order_and_size_answers_as_its_members_alone(
    folder, model, series_of, batch_size
):
    small = TimesFM25Model.load_model(folder, device="cpu", batch_size=batch_size)
    batch = [series_of(steps, seed=steps) for steps in LENGTHS[::-1]]
    for series, together in zip(batch, small.predict(batch, task_of()), strict=True):
        (alone,) = model.predict([series], task_of())
        np.testing.assert_allclose(heads_of(together), heads_of(alone), rtol=1e-4, atol=1e-4)


def test_a_saved_model_answers_the_same(model, series_of, tmp_path):
    model.save_model(tmp_path / "saved")
    again = TimesFM25Model.load_model(tmp_path / "saved")
    (one,), (other,) = (each.predict([series_of()], task_of()) for each in (model, again))
    np.testing.assert_array_equal(heads_of(one), heads_of(other))


def test_the_tiny_model_is_the_same_every_time(series_of):
    one, other = (TimesFM25Model.tiny().predict([series_of()], task_of())[0] for _ in range(2))
    np.testing.assert_array_equal(heads_of(one), heads_of(other))


def test_an_option_that_is_not_there_is_refused():
    with pytest.raises(ValidationError):
        TimesFM25Options(truncate_negative=True)


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
    task = task_of(infer_is_positive=False)
    expected, told = (model.predict([series], task)[0] for series in (near, far))
    np.testing.assert_allclose((heads_of(told) - level) / unit, heads_of(expected), atol=2e-3)


def test_a_validation_split_calibrates_the_quantiles_of_what_was_tuned(folder, tmp_path):
    model = TimesFM25Model.load_model(folder, **CONFIG, training_mode="fine_tune")
    calibrates_by_validation(model, tmp_path / "saved")
