"""Prophet forecasts as its library does, in workers, and the same way every time."""

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from forecast.core import accuracy
from forecast.core.errors import BadData, InvalidRequest
from forecast.core.types import ForecastTask
from forecast.models.prophet import fitting
from forecast.models.prophet.model import ProphetModel
from forecast.models.prophet.spec import SPEC, ProphetOptions

WEEK = 10 + np.tile([0, 1, 2, 3, 2, 1, 0], 12) + np.random.default_rng(5).normal(size=84) * 0.1
LEVELS = (0.1, 0.5, 0.9)


def task_of(horizon=7, seed=11, **options) -> ForecastTask:
    """Ask for the library's own intervals."""
    made = ProphetOptions(**options)
    return ForecastTask(horizon, LEVELS, seed=seed, options=made, intervals="native")


def calibrated(horizon=7, **options) -> ForecastTask:
    return replace(task_of(horizon, **options), intervals="conformal")


def direct(values, dates, horizon, seed, prepare=lambda prophet: prophet, **settings):
    """The library, called as its own documentation does."""
    from forecast.models.prophet.library import Prophet

    state = np.random.get_state()
    np.random.seed(seed)
    try:
        prophet = prepare(Prophet(**settings))
        prophet.fit(pd.DataFrame({"ds": dates[:-horizon], "y": values}))
        future = pd.DataFrame({"ds": dates[-horizon:]})
        paths = prophet.predictive_samples(future)["yhat"]
        return prophet.predict(future)["yhat"].to_numpy(), np.quantile(paths, LEVELS, axis=1)
    finally:
        np.random.set_state(state)


def test_it_answers_as_the_library_called_directly(model, series_of):
    dates = pd.date_range("2020-01-01", periods=91)
    mean, quantiles = direct(WEEK, dates, 7, seed=11)
    [ours] = model.predict([series_of(WEEK)], task_of())
    np.testing.assert_allclose(ours.mean[0], mean, rtol=1e-6)
    np.testing.assert_allclose(ours.quantiles[0], quantiles, rtol=1e-6)


def test_every_setting_reaches_the_library(model, airline, series_of):
    settings = {
        "seasonality_mode": "multiplicative",
        "changepoint_prior_scale": 0.2,
        "seasonality_prior_scale": 3.0,
        "holidays_prior_scale": 2.0,
        "n_changepoints": 9,
        "changepoint_range": 0.9,
        "yearly_seasonality": 6,
        "scaling": "minmax",
    }
    parts = {"name": "quarter", "period": 91.3, "fourier_order": 2}

    def prepare(prophet):
        prophet.add_country_holidays("US")
        return prophet.add_seasonality(**parts, prior_scale=0.5, mode="additive")

    dates = pd.date_range("1949-01-01", periods=156, freq="MS")
    mean, quantiles = direct(airline, dates, 12, 3, prepare, **settings)
    series = series_of(airline, "MS", start=np.datetime64("1949-01-01T00:00:00"))
    options = settings | {
        "seasonalities": [parts | {"prior_scale": 0.5, "mode": "additive"}],
        "country_holidays": "us",
    }
    [ours] = model.predict([series], task_of(12, seed=3, **options))
    np.testing.assert_allclose(ours.mean[0], mean, rtol=1e-6)
    np.testing.assert_allclose(ours.quantiles[0], quantiles, rtol=1e-6)


def test_logistic_growth_stays_below_its_cap(model, series_of):
    values = 50 / (1 + np.exp(-(np.arange(60) - 30) / 6))
    [linear] = model.predict([series_of(values)], task_of(200))
    [logistic] = model.predict([series_of(values)], task_of(200, growth="logistic", cap=52))
    assert logistic.mean.max() < 53
    assert linear.mean.max() > 53


def test_a_holiday_of_ones_own_moves_its_days(model, series_of):
    values = 10 + np.random.default_rng(6).normal(size=100) * 0.1
    sale = pd.DatetimeIndex(["2020-01-10", "2020-02-14", "2020-03-20"])
    values[(sale - pd.Timestamp("2020-01-01")).days] += 20
    days = [*(day.date().isoformat() for day in sale), "2020-04-13"]  # step 103 is known ahead
    plain = task_of(6, weekly_seasonality=False)
    marked = task_of(6, weekly_seasonality=False, holidays=[{"name": "sale", "dates": days}])
    [without], [told] = (model.predict([series_of(values)], task) for task in (plain, marked))
    assert told.mean[0, 3] > 25
    assert without.mean[0, 3] < 15


def regressor_series(series_of, name="trend"):
    promo = np.random.default_rng(7).integers(0, 2, size=91).astype(float)
    target = WEEK + 5 * promo[:84]
    return promo, series_of(
        target, past_covariates={name: promo[:84]}, future_covariates={name: promo[84:]}
    )


def test_a_covariate_known_ahead_is_a_regressor_whatever_its_name(model, series_of):
    promo, series = regressor_series(series_of)
    [forecast] = model.predict([series], task_of())
    effect = forecast.mean[0] - (10 + np.array([0, 1, 2, 3, 2, 1, 0]))
    np.testing.assert_allclose(effect, 5 * promo[84:], atol=0.6)


@pytest.mark.parametrize(("unit", "level"), [(1e-9, 0.0), (4.5e7, 0.0), (1.0, 1.7e9)])
def test_a_forecast_moves_and_stretches_with_its_series(model, series_of, unit, level):
    near, far = series_of(WEEK - 10), series_of((WEEK - 10) * unit + level)
    [expected], [told] = (model.predict([one], task_of()) for one in (near, far))
    np.testing.assert_allclose((told.mean - level) / unit, expected.mean, atol=0.1)
    width = np.ptp(told.quantiles, axis=1) / unit
    np.testing.assert_allclose(width, np.ptp(expected.quantiles, axis=1), rtol=0.3)


def test_limits_that_the_values_are_beyond_are_named(model, series_of):
    [forecast] = model.predict([series_of(WEEK)], task_of(growth="logistic", cap=11, floor=10.5))
    assert np.isfinite(forecast.quantiles).all()
    assert any("cap 11 lies below values" in warning for warning in forecast.warnings)
    assert any("floor 10.5 lies above values" in warning for warning in forecast.warnings)


def test_a_fit_that_never_ends_becomes_a_simpler_one_with_a_warning(
    model, series_of, endless_optimiser, monkeypatch
):
    monkeypatch.setattr(model._pool, "map", lambda work, jobs: [work(job) for job in jobs])
    monkeypatch.setattr(fitting, "_LONGEST_FIT_S", 0.05)
    [forecast] = model.predict([series_of(WEEK)], task_of())
    np.testing.assert_allclose(forecast.mean, WEEK.mean())
    np.testing.assert_allclose(np.ptp(forecast.quantiles, axis=1), 2.563 * WEEK.std(), rtol=1e-3)
    assert any("its trend is taken to be flat" in warning for warning in forecast.warnings)
    assert any("its forecast is the mean" in warning for warning in forecast.warnings)


@pytest.mark.parametrize("make", [task_of, calibrated])
def test_a_covariate_that_never_changed_is_left_out_and_named(model, series_of, make):
    flat = series_of(
        WEEK, past_covariates={"open": np.ones(84)}, future_covariates={"open": np.zeros(7)}
    )
    [told], [plain] = (model.predict([series], make()) for series in (flat, series_of(WEEK)))
    assert told.warnings == ("constant covariates were left out: open",)
    np.testing.assert_array_equal(told.mean, plain.mean)


def test_calibrated_quantiles_hold_what_native_ones_miss(model, series_of):
    draws = np.random.default_rng(1).normal(size=(12, 108))
    paths = np.zeros_like(draws)
    for step in range(1, 108):  # an autoregression, which a curve with noise is too sure of
        paths[:, step] = 0.7 * paths[:, step - 1] + draws[:, step]
    batch, actual = [series_of(path[:96]) for path in paths], paths[:, 96:]
    held = {}
    for task in (task_of(12), calibrated(12)):
        forecasts = model.predict(batch, task)
        lows, _, highs = np.stack([one.quantiles[0] for one in forecasts]).swapaxes(0, 1)
        held[task.intervals] = ((lows <= actual) & (actual <= highs)).mean()
        assert {one.intervals for one in forecasts} == {task.intervals}
    assert held["native"] + 0.1 < held["conformal"] < 0.9


def test_calibration_leaves_the_mean_and_reads_covariates_of_the_past(model, series_of):
    _, series = regressor_series(series_of)
    [native], [ours] = (model.predict([series], task) for task in (task_of(), calibrated()))
    np.testing.assert_array_equal(ours.mean, native.mean)
    assert np.ptp(ours.quantiles, axis=1).max() < 2  # a promotion unread would move it by 5


@pytest.mark.parametrize("has_covariate", [False, True])
def test_a_short_horizon_is_judged_by_forecasts_and_not_by_the_changes_of_a_season(
    model, series_of, has_covariate
):
    draw = np.random.default_rng(3)
    promo = draw.normal(size=92)
    season = 10 + 3 * np.sin(2 * np.pi * np.arange(90) / 7)
    facts = {"past_covariates": {"promo": promo[:90]}, "future_covariates": {"promo": promo[90:]}}
    target = season + 0.3 * draw.normal(size=90) + (5 * promo[:90] if has_covariate else 0)
    [ours] = model.predict([series_of(target, **(facts if has_covariate else {}))], calibrated(2))
    width = ours.quantiles[0, -1] - ours.quantiles[0, 0]
    assert (width > 0.4).all()
    assert (width < 2).all()  # of the noise alone it is 0.77, of changes from day to day over 5


def test_gaps_in_target_and_covariate_are_no_obstacle(model, series_of):
    _, series = regressor_series(series_of)
    holes = series.target.copy()
    holes[0, 10:20] = np.nan
    past = {"trend": np.where(np.arange(84) == 50, np.nan, series.past_covariates["trend"])}
    [forecast] = model.predict([replace(series, target=holes, past_covariates=past)], task_of())
    [whole] = model.predict([series], task_of())
    np.testing.assert_allclose(forecast.mean, whole.mean, atol=0.8)


@pytest.mark.parametrize("static", [True, False])
def test_covariates_of_other_kinds_are_refused_by_name(model, series_of, static):
    kind = {"static_covariates": {"size": 3.0}} if static else {"past_covariates": {"size": WEEK}}
    with pytest.raises(InvalidRequest, match="size"):
        model.check(series_of(WEEK, **kind), task_of())


@pytest.mark.parametrize("length", [2, 3, 5, 12])
@pytest.mark.parametrize("freq", ["D", "h", "MS", None])
def test_short_and_constant_series_get_finite_ordered_quantiles(model, series_of, length, freq):
    noisy = series_of(np.random.default_rng(length).normal(size=length), freq)
    constant = series_of(np.full(length, 3.0), freq)
    for forecast in model.predict([noisy, constant], task_of(5)):
        assert np.isfinite(forecast.mean).all()
        assert (np.diff(forecast.quantiles, axis=1) >= 0).all()
    np.testing.assert_allclose(forecast.quantiles, 3.0, atol=1e-4)


def test_one_observed_value_is_refused_with_the_minimum(model, series_of):
    with pytest.raises(InvalidRequest, match="at least 2"):
        model.check(series_of([1.0]), task_of())
    with pytest.raises(InvalidRequest, match="at least 2"):
        model.check(series_of([1.0, 2.0, np.nan, 3.0]), replace(task_of(), context_length=2))
    with pytest.raises(BadData, match="no observed value"):
        model.check(series_of([np.nan]), task_of())


def test_without_time_there_is_a_trend_and_whatever_season_is_asked_in_steps(model, series_of):
    series = series_of(WEEK, None, start=None)
    week = {"name": "week", "period": 7, "fourier_order": 3}
    [flat], [seasonal] = (
        model.predict([series], task) for task in (task_of(), task_of(seasonalities=[week]))
    )
    assert np.ptp(flat.mean) < 0.5
    np.testing.assert_allclose(seasonal.mean[0], WEEK[:7], atol=0.5)


@pytest.mark.parametrize(
    "options",
    [
        {"weekly_seasonality": True},
        {"country_holidays": "DE"},
        {"holidays": [{"name": "sale", "dates": ["2020-01-01"]}]},
    ],
)
def test_options_that_need_time_are_refused_without_it(model, series_of, options):
    with pytest.raises(InvalidRequest, match=f"{next(iter(options))}.*start and freq"):
        model.check(series_of(WEEK, None, start=None), task_of(**options))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"country_holidays": "XX"}, "Holidays in XX"),
        ({"seasonalities": [{"name": "trend", "period": 9, "fourier_order": 2}]}, "reserved"),
    ],
)
def test_what_the_library_refuses_is_the_callers_to_change(model, series_of, options, reason):
    with pytest.raises(InvalidRequest, match=reason):
        model.predict([series_of(WEEK)], task_of(**options))


def test_what_the_library_warns_of_reaches_the_caller(model, series_of):
    [forecast] = model.predict([series_of(WEEK)], task_of(yearly_seasonality=True))
    assert any("less than 730 days" in warning for warning in forecast.warnings)
    [quiet] = model.predict([series_of(WEEK)], task_of())
    assert quiet.warnings == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"growth": "logistic"},
        {"growth": "logistic", "cap": 1, "floor": 1},
        {"cap": 10},
        {"holidays": [{"name": "a", "dates": []}]},
        {"seasonalities": [{"name": "a", "period": 0, "fourier_order": 1}]},
        {"seasonalities": [{"name": "a", "period": 7, "fourier_order": 1}] * 2},
        {"weekly_seasonality": 0.5},
        {"interval_width": 0.5},
    ],
)
def test_options_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        ProphetOptions(**wrong)


def test_options_are_hashable_with_all_their_parts():
    options = ProphetOptions(
        seasonalities=[{"name": "a", "period": 7, "fourier_order": 1}],
        holidays=[{"name": "b", "dates": ["2020-01-01"]}],
    )
    assert hash(options) == hash(ProphetOptions.model_validate_json(options.model_dump_json()))


def test_a_series_gets_the_same_answer_in_any_company_and_order(model, series_of):
    batch = [series_of(WEEK * factor + factor) for factor in (1, 2, 5)]
    together = model.predict(batch, task_of())
    backwards = model.predict(batch[::-1], task_of())[::-1]
    for one, other, series in zip(together, backwards, batch, strict=True):
        [alone] = model.predict([series], task_of())
        np.testing.assert_array_equal(one.quantiles, other.quantiles)
        np.testing.assert_array_equal(one.quantiles, alone.quantiles)


def test_another_seed_draws_other_paths_around_the_same_mean(model, series_of):
    [one], [other] = (model.predict([series_of(WEEK)], task_of(seed=s)) for s in (1, 2**32 + 2))
    np.testing.assert_array_equal(one.mean, other.mean)
    assert not np.array_equal(one.quantiles, other.quantiles)
    np.testing.assert_allclose(one.quantiles, other.quantiles, atol=0.1)


def test_the_callers_random_numbers_are_left_alone(model, series_of):
    before = np.random.get_state()[1].copy()
    model.predict([series_of(WEEK)], task_of())
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_the_number_of_samples_is_the_tasks_within_a_limit(model, series_of):
    series = series_of(WEEK)
    [one] = model.predict([series], replace(task_of(), num_samples=1))
    assert (one.quantiles == one.quantiles[:, :1]).all()
    with pytest.raises(InvalidRequest, match="limit at horizon 5000"):
        model.check(series, replace(task_of(5000), num_samples=5000))


def test_no_levels_are_no_samples(model, series_of):
    [forecast] = model.predict([series_of(WEEK)], replace(task_of(), quantile_levels=()))
    assert forecast.quantiles.shape == (1, 0, 7)


def test_a_batch_is_spread_over_the_cores(model, series_of):
    model.predict([series_of(WEEK)] * 8, task_of())
    workers = len(model._pool._executor._processes)
    assert min(2, model._pool.max_workers) <= workers <= model._pool.max_workers


def test_a_killed_worker_costs_no_answer(model, series_of):
    expected = model.predict([series_of(WEEK)] * 3, task_of())
    for worker in list(model._pool._executor._processes):
        os.kill(worker, signal.SIGKILL)
    after = model.predict([series_of(WEEK)] * 3, task_of())
    np.testing.assert_array_equal(after[2].quantiles, expected[2].quantiles)


def test_fits_leave_no_files_behind(model, series_of, tmp_path, monkeypatch):
    import cmdstanpy

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(Path(cmdstanpy._TMPDIR).iterdir())
    monkeypatch.setattr(model._pool, "map", lambda work, jobs: [work(job) for job in jobs])
    [forecast] = model.predict([series_of(WEEK)], task_of())
    assert np.isfinite(forecast.mean).all()
    assert set(Path(cmdstanpy._TMPDIR).iterdir()) == before
    assert not list(tmp_path.iterdir())


def test_the_process_that_asks_does_not_import_the_library():
    code = "import sys, forecast.models.prophet.model; sys.exit('prophet' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_is_saved_as_its_configuration_alone(model, tmp_path):
    ProphetModel.load_model(None, context_length=48).save_model(tmp_path / "saved")
    assert ProphetModel.load_model(tmp_path / "saved").config.context_length == 48
    assert SPEC.weights is None


@pytest.mark.parametrize("mode", ["additive", "multiplicative"])
def test_on_the_airline_series_it_beats_the_seasonal_naive(model, airline, series_of, mode):
    history, actual = airline[:-12], airline[-12:]
    series = series_of(history, "MS", start=np.datetime64("1949-01-01T00:00:00"))
    [forecast] = model.predict([series], task_of(12, seasonality_mode=mode))
    ours = accuracy.mase(actual, forecast.mean[0], history, 12)
    assert ours < accuracy.mase(actual, history[-12:], history, 12)
