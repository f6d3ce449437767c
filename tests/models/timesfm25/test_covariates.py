import numpy as np
import pytest
from timesfm import ForecastConfig

from forecast.core.errors import InvalidRequest
from forecast.core.types import ForecastTask
from forecast.models.timesfm25.model import DECILES
from forecast.models.timesfm25.spec import TimesFM25Options

HORIZON = 12
MODES = ["xreg + timesfm", "timesfm + xreg"]


def task_of(mode="xreg + timesfm", ridge=0.0, **options):
    options = TimesFM25Options(xreg_mode=mode, ridge=ridge, **options)
    return ForecastTask(horizon=HORIZON, quantile_levels=DECILES, options=options)


def joined(series, name):
    return [*series.past_covariates[name].tolist(), *series.future_covariates[name].tolist()]


def with_the_library(library, series, mode, ridge):
    """Ask the library for one series; it regresses all the series of a call together."""
    library.compile(
        ForecastConfig(
            max_context=128,
            max_horizon=128,
            normalize_inputs=True,
            use_continuous_quantile_head=True,
            fix_quantile_crossing=True,
            return_backcast=True,
        )
    )
    _, heads = library.forecast_with_covariates(
        [series.target[0].tolist()],
        dynamic_numerical_covariates={"price": [joined(series, "price")]},
        dynamic_categorical_covariates={"promo": [joined(series, "promo")]},
        xreg_mode=mode,
        ridge=ridge,
    )
    return heads[0]


@pytest.mark.parametrize("ridge", [0.0, 2.0])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("steps", [60, 100, 128])
@pytest.mark.usefixtures("numpy_as_jax")
def test_covariates_count_as_in_the_librarys_own_route(
    model, library, series_of, mode, ridge, steps
):
    series = series_of(steps, horizon=HORIZON)
    expected = with_the_library(library, series, mode, ridge)
    (forecast,) = model.predict([series], task_of(mode, ridge))
    heads = np.concatenate([forecast.mean, forecast.quantiles[0]]).T
    np.testing.assert_allclose(heads, expected, rtol=1e-4, atol=1e-3)


def moved_by_a_dearer_future(model, series_of, task):
    series = series_of(120, horizon=HORIZON)
    dearer = {**series.future_covariates, "price": series.future_covariates["price"] + 4}
    other = series_of(120, horizon=HORIZON, future_covariates=dearer)
    one, two = model.predict([series, other], task)
    return two.mean[0] - one.mean[0]


def test_a_price_known_ahead_moves_the_forecast_by_its_true_effect(model, series_of):
    moved = moved_by_a_dearer_future(model, series_of, task_of())
    np.testing.assert_allclose(moved, np.full(HORIZON, 4 * 3), rtol=0.1)


def test_a_penalty_shrinks_the_effect(model, series_of):
    free = moved_by_a_dearer_future(model, series_of, task_of())
    shrunk = moved_by_a_dearer_future(model, series_of, task_of(ridge=120.0))
    np.testing.assert_allclose(shrunk, free / 2, rtol=0.1)


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_with_covariates_answers_as_its_members_alone(model, series_of, mode):
    batch = [series_of(40 + 30 * seed, seed=seed, horizon=HORIZON) for seed in range(4)]
    batch[2].target[0, [0, 1, 60]] = np.nan
    for series, together in zip(batch, model.predict(batch, task_of(mode)), strict=True):
        (alone,) = model.predict([series], task_of(mode))
        np.testing.assert_allclose(together.mean, alone.mean, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(together.quantiles, alone.quantiles, rtol=1e-4, atol=1e-4)


def test_any_context_length_is_forecast_with_covariates(model, series_of):
    batch = [series_of(steps, seed=steps, horizon=HORIZON) for steps in (1, 2, 3, 32, 33)]
    assert all(np.isfinite(each.mean).all() for each in model.predict(batch, task_of()))


def test_too_short_a_context_for_backcasts_is_refused(model, series_of):
    series = series_of(32, horizon=HORIZON)
    with pytest.raises(InvalidRequest, match="at least 33 past steps"):
        model.check(series, task_of("timesfm + xreg"))


def test_a_covariate_known_only_of_the_past_is_refused_or_ignored(model, series_of):
    series = series_of(50, past_covariates={"visits": np.arange(50.0)})
    with pytest.raises(InvalidRequest, match="visits"):
        model.predict([series], task_of())
    (forecast,) = model.predict([series], task_of(ignore_covariates=True))
    assert forecast.warnings == ("ignored covariates: visits",)


def test_static_covariates_are_refused_because_they_explain_nothing_within_a_series(
    model, series_of
):
    with pytest.raises(InvalidRequest, match="region"):
        model.predict([series_of(50, static_covariates={"region": "north"})], task_of())


@pytest.mark.parametrize("mode", MODES)
def test_a_covariate_that_never_changed_is_named(model, series_of, mode):
    past, future = {"open": np.ones(100)}, {"open": np.zeros(HORIZON)}
    flat = series_of(past_covariates=past, future_covariates=future)
    told, plain = (model.predict([one], task_of(mode))[0] for one in (flat, series_of()))
    assert told.warnings == ("constant covariates were left out: open",)
    if mode == MODES[0]:
        np.testing.assert_allclose(told.mean, plain.mean, rtol=1e-4)
