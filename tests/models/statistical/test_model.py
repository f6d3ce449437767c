"""The statistical models forecast as their library does, and never break."""

import numpy as np
import pytest

from forecast.core.errors import BadData, InvalidRequest
from forecast.core.types import ForecastTask
from forecast.models.statistical import fitting
from forecast.models.statistical.choice import FEWEST
from forecast.models.statistical.model import StatisticalModel
from forecast.models.statistical.spec import StatisticalOptions

METHODS = sorted(FEWEST)
LEVELS = (0.0225, 0.1, 0.5, 0.8, 0.9)


def task_of(horizon=6, levels=LEVELS, **options) -> ForecastTask:
    return ForecastTask(horizon, levels, options=StatisticalOptions(**options))


@pytest.mark.parametrize("name", METHODS)
def test_each_method_answers_as_the_library_called_directly(name, model, airline, series_of):
    from statsforecast import models as library

    theirs = {
        "auto_ets": library.AutoETS(season_length=12),
        "auto_arima": library.AutoARIMA(season_length=12),
        "auto_theta": library.AutoTheta(season_length=12),
        "auto_ces": library.AutoCES(season_length=12),
        "mstl": library.MSTL(season_length=[12]),
        "seasonal_naive": library.SeasonalNaive(season_length=12),
        "naive": library.Naive(),
    }[name].forecast(y=airline, h=6, level=[60, 80, 95.5])
    [ours] = model.predict([series_of(airline)], task_of(model=name))
    assert ours.warnings == ()
    np.testing.assert_allclose(ours.mean[0], theirs["mean"], rtol=1e-9)
    for row, column in [(0, "lo-95.5"), (1, "lo-80"), (3, "hi-60"), (4, "hi-80")]:
        np.testing.assert_allclose(ours.quantiles[0, row], theirs[column], rtol=1e-6)


def test_covariates_reach_arima_as_the_library_would_have_them(model, series_of):
    from statsforecast.models import AutoARIMA

    rng = np.random.default_rng(3)
    promo = rng.normal(size=66)
    target = 20 + 5 * promo[:60] + rng.normal(size=60) * 0.1
    series = series_of(
        target,
        freq="YS",
        past_covariates={"promo": promo[:60]},
        future_covariates={"promo": promo[60:]},
    )
    theirs = AutoARIMA().forecast(y=target, h=6, X=promo[:60, None], X_future=promo[60:, None])
    for name in ("auto", "auto_arima"):
        [ours] = model.predict([series], task_of(model=name))
        np.testing.assert_allclose(ours.mean[0], theirs["mean"], rtol=1e-9)
        np.testing.assert_allclose(ours.mean[0], 20 + 5 * promo[60:], rtol=0.1, atol=0.5)


def covariate_series(series_of, columns, target):
    past = {str(row): column[:-6] for row, column in enumerate(columns)}
    future = {str(row): column[-6:] for row, column in enumerate(columns)}
    return series_of(target, freq="YS", past_covariates=past, future_covariates=future)


def test_covariates_that_repeat_each_other_or_stand_still_are_left_out(model, series_of):
    rng = np.random.default_rng(3)
    one = rng.normal(size=66)
    target = one[:60] * 2 + rng.normal(size=60)
    series = covariate_series(series_of, [one, np.ones(66), 3 - 2 * one], target)
    [forecast] = model.predict([series], task_of(model="auto_arima"))
    [alone] = model.predict([covariate_series(series_of, [one], target)], task_of())
    assert "2 covariates say nothing new" in forecast.warnings[0]
    np.testing.assert_allclose(forecast.mean, alone.mean)


def test_a_gap_in_a_covariate_is_filled(model, series_of):
    rng = np.random.default_rng(3)
    one = rng.normal(size=66)
    one[[0, 30, 62]] = np.nan
    [forecast] = model.predict(
        [covariate_series(series_of, [one], rng.normal(size=60))], task_of(model="auto_arima")
    )
    assert np.isfinite(forecast.mean).all()


def test_a_method_that_would_ignore_covariates_refuses_them(model, airline, series_of):
    series = covariate_series(series_of, [np.arange(150.0)], airline)
    with pytest.raises(InvalidRequest, match="auto_arima") as refusal:
        model.check(series, task_of(model="auto_ets"))
    assert refusal.value.errors[0].pointer == "/parameters/model_options/model"
    [ignored] = model.predict([series], task_of(model="auto_ets", ignore_covariates=True))
    plain = series_of(airline, freq="YS")
    [expected] = model.predict([plain], task_of(model="auto_ets"))
    assert ignored.warnings == ("ignored covariates: 0",)
    np.testing.assert_array_equal(ignored.mean, expected.mean)


def test_a_long_season_is_given_to_arima_as_harmonics(model, series_of):
    steps = np.arange(52 * 4)
    season = np.sin(2 * np.pi * steps / 52) + 0.5 * np.cos(4 * np.pi * steps / 52)
    target = 100 + 10 * season + np.random.default_rng(0).normal(size=len(steps)) * 0.1
    [forecast] = model.predict(
        [series_of(target[:-26], freq="W-SUN")], task_of(26, model="auto_arima")
    )
    np.testing.assert_allclose(forecast.mean[0], target[-26:], atol=1.0)


@pytest.mark.parametrize("name", ["auto", *METHODS])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 9, 10, 11, 13, 24, 25, 30])
@pytest.mark.parametrize("kind", ["random", "constant", "line", "gaps"])
def test_any_history_gets_finite_ordered_quantiles(name, length, kind, model, series_of):
    noise = np.random.default_rng(length).normal(size=length) + 3
    values = {
        "random": noise,
        "constant": np.full(length, 4.0),
        "line": np.arange(length, dtype=float),
        "gaps": np.where(np.arange(length) % 3 == 1, np.nan, noise),
    }[kind]
    [forecast] = model.predict([series_of(values)], task_of(3, model=name))
    assert np.isfinite(forecast.mean).all()
    assert (np.diff(forecast.quantiles, axis=1) >= 0).all()
    if kind == "constant":
        assert (forecast.mean == 4).all()
        assert (forecast.quantiles == 4).all()


def test_one_step_is_forecast_as_itself_with_a_warning(model, series_of):
    [forecast] = model.predict([series_of([5.0])], task_of(2))
    assert (forecast.quantiles == 5).all()
    assert any("nothing of the spread" in warning for warning in forecast.warnings)


def test_leading_gaps_are_dropped_rather_than_made_up(model, airline, series_of):
    padded = series_of([np.nan] * 12 + list(airline))
    [forecast] = model.predict([padded], task_of(model="auto_ets"))
    [plain] = model.predict([series_of(airline)], task_of(model="auto_ets"))
    np.testing.assert_array_equal(forecast.mean, plain.mean)


def test_a_context_without_any_value_is_bad_data(model, series_of):
    series = series_of([1.0, 2.0, np.nan, np.nan])
    with pytest.raises(BadData, match="no observed value"):
        model.predict([series], ForecastTask(2, context_length=2))


def test_a_series_that_defeats_its_method_gets_the_naive_and_a_warning(
    model, airline, series_of, monkeypatch
):
    def fail(self, **arguments):
        raise NotImplementedError("tiny datasets")

    monkeypatch.setattr(fitting.library.AutoETS, "forecast", fail)
    [forecast] = model.predict([series_of(airline)], task_of(12, model="auto_ets"))
    assert "auto_ets could not be fitted" in forecast.warnings[0]
    np.testing.assert_array_equal(forecast.mean[0], airline[-12:])


def test_no_levels_are_no_quantiles(model, airline, series_of):
    [forecast] = model.predict([series_of(airline)], task_of(levels=()))
    assert forecast.quantiles.shape == (1, 0, 6)


def test_a_large_batch_on_all_cores_answers_as_its_members_alone(model, airline, series_of):
    batch = [series_of(airline[skip:] * (1 + skip)) for skip in range(16)]
    together = model.predict(batch, task_of())
    assert model._pool._executor is not None
    for series, forecast in list(zip(batch, together, strict=True))[::5]:
        [alone] = model.predict([series], task_of())
        np.testing.assert_allclose(forecast.mean, alone.mean, rtol=1e-9)
        np.testing.assert_allclose(forecast.quantiles, alone.quantiles, rtol=1e-9)


def test_a_small_or_cheap_batch_starts_no_process(airline, series_of):
    model = StatisticalModel.load_model(None)
    model.predict([series_of(airline)] * 3, task_of())
    model.predict([series_of(airline)] * 100, task_of(model="seasonal_naive"))
    assert model._pool._executor is None


def test_it_is_saved_as_its_configuration_alone(tmp_path, airline, series_of):
    model = StatisticalModel.load_model(None, context_length=48)
    model.save_model(tmp_path / "saved")
    again = StatisticalModel.load_model(tmp_path / "saved")
    assert again.config == model.config
    [one], [other] = (each.predict([series_of(airline)], task_of()) for each in (model, again))
    np.testing.assert_array_equal(one.quantiles, other.quantiles)
