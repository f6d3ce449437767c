import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from forecast.core.errors import BackendUnavailable, BadData, InvalidRequest, ModelNotReady
from forecast.core.types import ForecastTask
from forecast.models.chronos.model import ChronosModel
from forecast.models.chronos.spec import SPEC, ChronosOptions
from forecast.serving.limits import ServingLimits
from forecast.serving.loaded import Loader, Weights
from tests.models.chronos.walks import assert_same, walk, with_covariates

TASK = ForecastTask(12)


def test_a_checkpoint_says_itself_which_kind_it_is(models):
    names = {kind: type(model.forecaster).__name__ for kind, model in models.items()}
    assert names == {"t5": "T5Network", "bolt": "BoltNetwork", "chronos2": "Chronos2Network"}


@pytest.mark.parametrize("length", [1, 2, 3, 15, 16, 17, 31, 64, 65, 500])
def test_any_context_length_is_forecast(model, length):
    forecast = model.predict([walk(length)], TASK)[0]
    assert forecast.mean.shape == (1, 12)
    assert forecast.quantiles.shape == (1, 3, 12)
    assert np.isfinite(forecast.quantiles).all()
    assert (np.diff(forecast.quantiles, axis=1) >= 0).all()


def test_a_batch_answers_as_its_members_alone_and_in_any_order(model):
    batch = [walk(length) for length in (60, 1, 33, 200, 61, 17)]
    together = model.predict(batch, TASK)
    backwards = model.predict(batch[::-1], TASK)[::-1]
    for series, one, other in zip(batch, together, backwards, strict=True):
        assert_same(one, other)
        assert_same(one, model.predict([series], TASK)[0])


@pytest.mark.parametrize("where", [slice(0, 20), slice(20, 40), slice(-5, None), slice(1, None, 2)])
def test_missing_values_are_not_observed_values(model, where):
    series = walk(60)
    holed = series.target.copy()
    holed[:, where] = np.nan
    forecast = model.predict([replace(series, target=holed)], TASK)[0]
    assert np.isfinite(forecast.quantiles).all()
    filled = model.predict([replace(series, target=np.nan_to_num(holed))], TASK)[0]
    assert np.abs(forecast.mean - filled.mean).max() > 1e-3


def test_missing_values_before_the_first_observed_one_change_nothing(model):
    series = walk(40)
    padded = np.concatenate([np.full((1, 16), np.nan), series.target], axis=1)
    assert_same(
        model.predict([replace(series, target=padded)], TASK)[0], model.predict([series], TASK)[0]
    )


def test_missing_values_at_the_end_are_forecast_over(model):
    series = walk(40)
    gap = np.full((1, 5), np.nan)
    gapped = replace(series, target=np.concatenate([series.target, gap], axis=1))
    (longer,) = model.predict([series], replace(TASK, horizon=TASK.horizon + 5))
    other, forecast = model.predict([series, gapped], TASK)
    assert_same(forecast, longer.after(5))
    assert_same(other, model.predict([series], TASK)[0])


def test_nothing_observed_in_the_steps_used_is_refused(model):
    target = walk(60).target.copy()
    target[:, -10:] = np.nan
    task = replace(TASK, context_length=10)
    with pytest.raises(BadData, match="no observed value in its last 10 steps"):
        model.predict([replace(walk(60), target=target)], task)


def test_a_constant_series_stays_where_it_is(models):
    series = replace(walk(50), target=np.full((1, 50), 3.0))
    for kind in ("bolt", "chronos2"):
        np.testing.assert_allclose(models[kind].predict([series], TASK)[0].mean, 3.0, rtol=1e-3)


UNITS = [(1e-9, 0.0), (1e-9, 1e-3), (4.5e7, 0.0), (1e30, 0.0), (1.0, 1.7e9), (1.0, -1e12)]


@pytest.mark.parametrize(("unit", "level"), UNITS)
def test_a_forecast_moves_and_stretches_with_its_series(models, unit, level):
    near = with_covariates(walk(50), TASK.horizon)
    far = replace(
        near,
        target=near.target * unit + level,
        past_covariates=near.past_covariates | {"wind": near.past_covariates["wind"] * unit},
    )
    for kind, one, other in [
        ("bolt", walk(50), replace(far, past_covariates={}, future_covariates={})),
        ("chronos2", near, far),
    ]:
        expected, told = (models[kind].predict([series], TASK)[0] for series in (one, other))
        np.testing.assert_allclose((told.mean - level) / unit, expected.mean, atol=1e-3)
        np.testing.assert_allclose((told.quantiles - level) / unit, expected.quantiles, atol=1e-3)


@pytest.mark.parametrize("unit", [1e-9, 1e-30, 4.5e7])
def test_sampled_paths_stretch_with_their_series(t5, unit):
    one, other = (
        t5.predict([replace(walk(50), target=walk(50).target * scale)], TASK)[0]
        for scale in (1.0, unit)
    )
    np.testing.assert_allclose(other.quantiles / unit, one.quantiles, rtol=1e-5)


def test_steps_finer_than_a_token_are_sampled_around_their_mean(t5):
    counter = replace(walk(50), target=1.7e9 + walk(50).target)
    centred = replace(walk(50), target=walk(50).target - walk(50).target.mean())
    far, near = (t5.predict([series], TASK)[0] for series in (counter, centred))
    expected = near.quantiles + counter.target.mean()
    np.testing.assert_allclose(far.quantiles, expected, atol=1e-3)


def test_a_value_that_cannot_be_scaled_is_refused_before_it_reaches_its_neighbours(model):
    with pytest.raises(BadData, match=r"beyond ±1e\+150"):
        model.check(replace(walk(50), target=walk(50).target * 1e150), TASK)


def test_the_input_is_left_untouched(model):
    series = walk(60)
    before = series.target.copy()
    series.target.setflags(write=False)
    model.predict([series], TASK)
    np.testing.assert_array_equal(series.target, before)


def test_a_horizon_beyond_the_limit_is_refused_with_the_limit(model):
    limit = model.capabilities.max_horizon
    with pytest.raises(InvalidRequest, match=str(limit)):
        model.predict([walk(30)], replace(TASK, horizon=limit + 1))


def test_the_longest_horizon_is_forecast(models):
    for kind, limit in (("bolt", 1024), ("chronos2", 128)):
        task = ForecastTask(limit, (0.5,))
        assert models[kind].predict([walk(30)], task)[0].mean.shape == (1, limit)


def test_saved_and_loaded_it_answers_the_same(model, tmp_path):
    model.save_model(tmp_path / "saved")
    loaded = ChronosModel.load_model(tmp_path / "saved")
    assert loaded.config == model.config
    assert loaded.capabilities == model.capabilities
    assert_same(loaded.predict([walk(60)], TASK)[0], model.predict([walk(60)], TASK)[0], rtol=0)


def test_a_tiny_one_is_the_same_every_time():
    first, second = (ChronosModel.tiny().predict([walk(60)], TASK)[0] for _ in range(2))
    assert_same(first, second, rtol=0)


def test_options_set_at_load_are_kept(folders):
    model = ChronosModel.load_model(folders["bolt"], device="cpu", context_length=48)
    assert model.max_context == 48
    assert_same(
        model.predict([walk(60)], TASK)[0],
        ChronosModel.load_model(folders["bolt"]).predict([walk(60).last(48)], TASK)[0],
    )


def test_sampling_options_are_refused_where_nothing_is_sampled(models):
    for kind in ("bolt", "chronos2"):
        for options in (
            ChronosOptions(temperature=0.5),
            ChronosOptions(top_k=3),
            ChronosOptions(top_p=0.5),
        ):
            with pytest.raises(InvalidRequest, match="only Chronos-T5 samples") as refused:
                models[kind].predict([walk(30)], replace(TASK, options=options))
            assert refused.value.errors[0].pointer.startswith("/parameters/model_options/")


@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p", "num_beams"])
def test_an_option_that_makes_no_sense_is_refused(name):
    with pytest.raises(ValueError, match=name):
        ChronosOptions.model_validate({name: 0})


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(folders, device):
    if ChronosModel().device.startswith(device):
        pytest.skip(f"this machine has {device}")
    with pytest.raises(BackendUnavailable, match=f"no {device} device"):
        ChronosModel.load_model(folders["bolt"], device=device)


def test_without_weights_it_says_so():
    with pytest.raises(ModelNotReady, match="load a checkpoint"):
        ChronosModel().predict([walk(30)], TASK)


def test_the_spec_promises_all_that_any_kind_can_do(models):
    promised = SPEC.capabilities
    for model in models.values():
        able = model.capabilities
        for name in ("multivariate", "past_covariates", "future_covariates", "missing_values"):
            assert getattr(promised, name) >= getattr(able, name)
        assert promised.min_context <= able.min_context


def test_checkpoints_loaded_by_several_threads_at_once_are_whole(folders, models):
    """The library's loading is not thread-safe: without the lock of `Loader` this fails."""
    loader = Loader(SPEC, ServingLimits(), {"device": "cpu"}, None, None)
    answers: dict[int, object] = {}
    barrier = threading.Barrier(6)

    def load(number: int, kind: str) -> None:
        barrier.wait()
        loaded = loader.load(Weights(path=folders[kind]), {})
        answers[number] = (kind, loaded.model.predict([walk(60)], TASK)[0])
        loaded.close(0)

    threads = [
        threading.Thread(target=load, args=(number, kind))
        for number, kind in enumerate([*folders, *folders])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    for kind, forecast in answers.values():
        assert_same(forecast, models[kind].predict([walk(60)], TASK)[0])


def test_nothing_is_drawn_on_the_terminal(folders, capfd, tmp_path):
    model = ChronosModel.load_model(folders["bolt"], device="cpu")
    model.save_model(tmp_path / "saved")
    sys.stderr.flush()
    assert capfd.readouterr() == ("", "")
