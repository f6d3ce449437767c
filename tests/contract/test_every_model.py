"""What every model of the registry promises. A model is tested by being registered."""

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forecast.core.errors import BackendUnavailable, InvalidRequest
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.models.base.model import BaseTimeSeriesModel

TASK = ForecastTask(horizon=7, quantile_levels=(0.1, 0.5, 0.9))
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}
LENGTH = 60
CONTEXTS = (1, 2, 3, 8, 31, 33, 200)


def wave(length: int, *, phase: float = 0.0, item_id: str = "wave") -> Series:
    steps = np.arange(length)
    target = 20 + 0.1 * steps + 5 * np.sin(2 * np.pi * steps / 7 + phase) + np.cos(steps**2)
    return Series(
        target=target[None],
        item_id=item_id,
        start=np.datetime64("2024-01-01", "s"),
        freq=Frequency.parse("D"),
    )


def assert_sound(forecast, series: Series, task: ForecastTask) -> None:
    points = (series.num_channels, task.horizon)
    levels = task.quantile_levels
    assert forecast.mean.shape == points
    assert forecast.quantiles.shape == (series.num_channels, len(levels), task.horizon)
    assert forecast.quantile_levels == levels
    assert np.isfinite(forecast.mean).all()
    assert np.isfinite(forecast.quantiles).all()
    assert (np.diff(forecast.quantiles, axis=1) >= 0).all(), "quantiles cross"


def assert_equal(one, other) -> None:
    np.testing.assert_allclose(one.mean, other.mean, **TOLERANCE)
    np.testing.assert_allclose(one.quantiles, other.quantiles, **TOLERANCE)


@pytest.mark.parametrize(
    ("horizon", "levels"),
    [(7, ()), (30, (0.5,)), (1, (0.1, 0.5, 0.9)), (7, (0.03, 0.25, 0.333, 0.97))],
)
def test_shapes_and_quantiles_are_as_asked(model, horizon, levels):
    if levels and model.capabilities.quantiles == "none":
        pytest.skip("point forecasts only")
    task = ForecastTask(horizon=horizon, quantile_levels=levels)
    series = wave(LENGTH)
    assert_sound(model.predict([series], task)[0], series, task)


@pytest.mark.parametrize("length", CONTEXTS)
def test_any_context_length_is_forecast_or_refused_with_the_minimum(model, length):
    series = wave(length)
    least = model.capabilities.min_context
    if length < least:
        with pytest.raises(InvalidRequest, match=f"at least {least}"):
            model.predict([series], TASK)
    else:
        assert_sound(model.predict([series], TASK)[0], series, TASK)


def test_a_series_without_times_is_forecast(model):
    series = replace(wave(LENGTH), start=None, freq=None)
    assert_sound(model.predict([series], TASK)[0], series, TASK)


def test_a_constant_series_is_forecast(model):
    series = replace(wave(LENGTH), target=np.full((1, LENGTH), 3.0))
    assert_sound(model.predict([series], TASK)[0], series, TASK)


@pytest.mark.parametrize(
    "where", [slice(0, 4), slice(20, 31), slice(-3, None), slice(None, None, 2)]
)
def test_missing_values_anywhere_are_coped_with(model, where):
    target = wave(LENGTH).target.copy()
    target[:, where] = np.nan
    series = replace(wave(LENGTH), target=target)
    assert_sound(model.predict([series], TASK)[0], series, TASK)


def test_a_batch_answers_as_its_members_would_alone_and_in_any_order(model):
    batch = [wave(length, phase=length) for length in (60, 9, 33, 200, 61)]
    together = model.predict(batch, TASK)
    reversed_ = model.predict(batch[::-1], TASK)[::-1]
    for series, one, other in zip(batch, together, reversed_, strict=True):
        assert_equal(one, other)
        assert_equal(one, model.predict([series], TASK)[0])


def test_a_shared_horizon_does_not_change_the_answer(model):
    """The batcher lets different horizons share a call: each gets the first steps of it."""
    series = wave(LENGTH)
    shared = model.batch_key(series, TASK).task
    long = model.predict([series], shared)[0]
    assert_equal(long.first(TASK.horizon), model.predict([series], TASK)[0])


def test_several_channels_are_forecast_together(model):
    if not model.capabilities.multivariate:
        pytest.skip("takes one channel")
    series = replace(wave(LENGTH), target=np.vstack([wave(LENGTH).target] * 2), channels=("a", "b"))
    assert_sound(model.predict([series], TASK)[0], series, TASK)


def test_the_input_is_left_untouched(model):
    series = wave(LENGTH)
    series.target[0, 5] = np.nan
    before = series.target.copy()
    model.predict([series], TASK)
    np.testing.assert_array_equal(series.target, before)


def test_the_same_seed_gives_the_same_answer(model):
    series = wave(LENGTH)
    task = replace(TASK, seed=7)
    first, second = (model.predict([series], task)[0] for _ in range(2))
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.quantiles, second.quantiles)


def test_saved_and_loaded_it_answers_the_same(model: BaseTimeSeriesModel, tmp_path):
    model.save_model(tmp_path / "saved")
    operators = {name: getattr(model.config, name) for name in model.config.operator_fields}
    loaded = type(model).load_model(tmp_path / "saved", **operators)
    assert loaded.config == model.config
    series = wave(LENGTH)
    assert_equal(loaded.predict([series], TASK)[0], model.predict([series], TASK)[0])
    loaded.close()


def test_only_what_is_new_is_used_of_a_long_history(model):
    task = replace(TASK, context_length=40)
    assert_equal(
        model.predict([wave(LENGTH)], task)[0], model.predict([wave(LENGTH).last(40)], TASK)[0]
    )


def test_a_device_that_is_not_there_is_refused(model):
    with pytest.raises(BackendUnavailable):
        type(model)(type(model).spec.config(device="mps"))


def test_its_page_is_beside_its_code(model):
    code = Path(inspect.getfile(type(model)))
    text = (code.parent / "README.md").read_text().lower()
    for word in ("licen", "limits", "options", "curl"):
        assert word in text, f"the page of {model.spec.model_id} does not speak of {word}"
