"""What was fitted once is not fitted again, but read from JSON."""

from dataclasses import replace

import numpy as np
import pytest

from forecast.core.errors import InvalidRequest
from forecast.core.types import ForecastTask
from forecast.models.prophet import fitting
from forecast.models.prophet.model import ProphetModel
from forecast.models.prophet.spec import ProphetConfig, ProphetOptions

TASK = ForecastTask(6, (0.1, 0.5, 0.9), intervals="native")


@pytest.fixture
def load(model):
    def make(**options):
        new = ProphetModel(ProphetConfig(options=ProphetOptions(**options)))
        new._pool = model._pool  # its workers run already
        return new

    return make


@pytest.fixture
def without_fitting(monkeypatch):
    """Forecast as a worker would, but here, where nothing can be fitted."""
    from prophet import Prophet

    def refuse(*_, **__):
        raise AssertionError("it was fitted again")

    def predict(model, series, task):
        monkeypatch.setattr(Prophet, "fit", refuse)
        return fitting.fit(model._job(series, task))

    return predict


@pytest.fixture
def history(airline, series_of):
    return series_of(airline[:72], freq="MS")


def saved_and_loaded(model, folder):
    model.save_model(folder / "saved")
    loaded = ProphetModel.load_model(folder / "saved")
    loaded._pool = model._pool
    assert loaded.config == model.config
    assert loaded.training_ == model.training_
    return loaded


def test_saved_and_loaded_it_forecasts_the_same_history_without_fitting_it(
    load, history, tmp_path, without_fitting
):
    options = {
        "seasonality_mode": "multiplicative",
        "country_holidays": "US",
        "seasonalities": ({"name": "quarter", "period": 91.3, "fourier_order": 2},),
    }
    (expected,) = load(**options).predict([history], TASK)
    loaded = saved_and_loaded(load(**options).fit([history]), tmp_path)
    (forecast,) = loaded.predict([history], TASK)
    np.testing.assert_allclose(forecast.quantiles, expected.quantiles, rtol=1e-9)
    asked = replace(TASK, options=ProphetOptions(**options))
    for task in (TASK, asked):  # as the configuration says, and as the request does
        fit = without_fitting(loaded, history, task)
        np.testing.assert_allclose(fit.mean, expected.mean[0], rtol=1e-6)
        np.testing.assert_allclose(fit.quantiles, expected.quantiles[0], rtol=1e-6)


def test_a_covariate_known_ahead_is_part_of_what_is_kept(
    load, series_of, tmp_path, without_fitting
):
    draw = np.random.default_rng(0)
    price = draw.normal(size=86)
    history = series_of(
        20 + 3 * price[:80] + 0.1 * draw.normal(size=80),
        past_covariates={"price": price[:80]},
        future_covariates={"price": price[80:]},
    )
    (expected,) = load().predict([history], TASK)
    loaded = saved_and_loaded(load().fit([history]), tmp_path)
    forecast = without_fitting(loaded, history, TASK)
    np.testing.assert_allclose(forecast.mean, expected.mean[0], rtol=1e-6)
    dearer = replace(history, future_covariates={"price": price[80:] + 2})
    other = without_fitting(loaded, dearer, TASK)
    np.testing.assert_allclose(other.mean - forecast.mean, 6, rtol=0.1)


def test_another_history_is_fitted_as_ever(load, history, airline, series_of):
    longer = series_of(airline[:84], freq="MS")
    (forecast,) = load().fit([history]).predict([longer], TASK)
    (expected,) = load().predict([longer], TASK)
    np.testing.assert_array_equal(forecast.mean, expected.mean)


def test_several_series_are_kept_each_by_what_it_holds(load, history, series_of):
    with_gaps = series_of(np.where(np.arange(60) % 7 == 3, np.nan, np.arange(60.0)))
    assert np.isnan(with_gaps.target[0, -1])  # what is missing at the end is no part of a fit
    (before,) = load().predict([with_gaps], TASK)
    fitted = load().fit([history, with_gaps])
    assert len(fitted.cached_fits_) == 2
    (after,) = fitted.predict([with_gaps], TASK)
    np.testing.assert_allclose(after.quantiles, before.quantiles, rtol=1e-6)


def test_what_prophet_warned_of_is_kept(load, series_of, monkeypatch):
    def warn(*arguments, **rest):
        fitting.logging.getLogger("prophet").warning("a warning of the fit")
        return fit(*arguments, **rest)

    fit = fitting._fit
    monkeypatch.setattr(fitting, "_fit", warn)
    job = load()._job(series_of(np.arange(30.0)), TASK)
    kept = fitting.keep(job)
    monkeypatch.setattr(fitting, "_fit", fit)
    assert fitting.fit(replace(job, kept=kept)).warnings == ("a warning of the fit",)
    assert fitting.fit(job).warnings == ()


def test_a_series_too_short_to_fit_is_refused(load, series_of):
    with pytest.raises(InvalidRequest, match="at least 2"):
        load().fit([series_of([1.0])])


def test_options_that_need_the_time_are_refused_where_there_is_none(load, series_of):
    untimed = series_of(np.arange(30.0), freq=None, start=None)
    with pytest.raises(InvalidRequest, match="need to know the time"):
        load(yearly_seasonality=6).fit([untimed])
