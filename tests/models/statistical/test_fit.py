"""What was fitted once is not fitted again: every method, kept as JSON."""

import json
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from statsforecast import models as library

from forecast.core.errors import BadData, InvalidRequest
from forecast.core.types import ForecastTask
from forecast.models.statistical.model import StatisticalModel
from forecast.models.statistical.spec import MethodName, StatisticalConfig, StatisticalOptions

METHODS = get_args(MethodName)
LEVELS = (0.1, 0.5, 0.9)


def model_of(**options):
    return StatisticalModel(StatisticalConfig(options=StatisticalOptions(**options)))


def task_of(**options):
    return ForecastTask(6, LEVELS, options=StatisticalOptions(**options))


@pytest.fixture
def no_fitting(monkeypatch):
    """Take the way to a fit out of the library's models."""

    def refuse(*_, **__):
        raise AssertionError("it was fitted again")

    def forbid():
        for name in (
            "AutoETS",
            "AutoARIMA",
            "AutoTheta",
            "AutoCES",
            "Theta",
            "SeasonalNaive",
            "Naive",
        ):
            for call in ("fit", "forecast", "forward"):
                monkeypatch.setattr(getattr(library, name), call, refuse)

    return forbid


@pytest.mark.parametrize("method", METHODS)
def test_saved_and_loaded_it_forecasts_the_same_history_without_fitting_it(
    method, airline, series_of, tmp_path, no_fitting
):
    history = series_of(airline[:60])
    (expected,) = StatisticalModel().predict([history], task_of(model=method))
    model = model_of(model=method).fit([history])
    model.save_model(tmp_path / "saved")
    loaded = StatisticalModel.load_model(tmp_path / "saved")
    assert loaded.config == model.config
    assert loaded.training_ == model.training_
    no_fitting()
    for task in (task_of(model=method), task_of()):  # asked for, and as the configuration says
        (forecast,) = loaded.predict([history], task)
        np.testing.assert_allclose(forecast.mean, expected.mean, rtol=1e-6)
        np.testing.assert_allclose(forecast.quantiles, expected.quantiles, rtol=1e-6)


def test_covariates_known_ahead_are_part_of_what_is_kept(series_of, no_fitting):
    draw = np.random.default_rng(0)
    price = draw.normal(size=66)
    ahead = {
        "past_covariates": {"price": price[:60]},
        "future_covariates": {"price": price[60:]},
    }
    history = series_of(20 + 3 * price[:60] + draw.normal(size=60), **ahead)
    (expected,) = StatisticalModel().predict([history], task_of())
    model = StatisticalModel().fit([history])
    no_fitting()
    (forecast,) = model.predict([history], task_of())
    np.testing.assert_array_equal(forecast.quantiles, expected.quantiles)
    dearer = replace(history, future_covariates={"price": price[60:] + 2})
    (other,) = model.predict([dearer], task_of())
    assert (other.mean - forecast.mean).mean() == pytest.approx(6, rel=0.2)


def test_another_history_or_method_is_fitted_as_ever(airline, series_of):
    model = model_of(model="auto_theta").fit([series_of(airline[:60])])
    for series, task in (
        (series_of(airline[:72]), task_of(model="auto_theta")),
        (series_of(airline[:60]), task_of(model="auto_ets")),
    ):
        (forecast,), (expected,) = (
            each.predict([series], task) for each in (model, StatisticalModel())
        )
        np.testing.assert_array_equal(forecast.mean, expected.mean)


def test_what_was_fitted_with_is_what_a_request_without_options_gets(airline, series_of):
    model = model_of(model="naive")
    (forecast,) = model.predict([series_of(airline[:60])], task_of())
    np.testing.assert_array_equal(forecast.mean[0], np.full(6, airline[59]))


def test_a_constant_and_a_history_with_gaps_are_kept_too(series_of, airline, no_fitting):
    holed = airline[:60].copy()
    holed[[0, 1, 30, 31]] = np.nan
    batch = [series_of(np.full(30, 4.0)), series_of(holed)]
    expected = StatisticalModel().predict(batch, task_of())
    model = StatisticalModel().fit(batch)
    assert len(model.cached_fits_) == 2
    no_fitting()
    for forecast, other in zip(model.predict(batch, task_of()), expected, strict=True):
        np.testing.assert_array_equal(forecast.quantiles, other.quantiles)


def test_a_fit_can_be_stopped_and_is_reported(airline, series_of):
    heard = []

    def stop(progress):
        heard.append((progress.step, progress.of))
        return False

    config = StatisticalConfig(batch_size=1, options=StatisticalOptions(model="naive"))
    train = [series_of(airline[:60]), series_of(airline[:72])]
    model = StatisticalModel(config).fit(train, on_progress=stop)
    assert heard == [(1, 2)]
    assert len(model.cached_fits_) == 1


def test_fits_that_cannot_be_read_are_refused(airline, series_of, tmp_path):
    model_of(model="naive").fit([series_of(airline)]).save_model(tmp_path / "saved")
    file = tmp_path / "saved/weights/fits.json"
    assert len(json.loads(file.read_text())) == 1
    for damaged in ("{", "[]"):
        file.write_text(damaged)
        with pytest.raises(BadData, match=r"fits\.json"):
            StatisticalModel.load_model(tmp_path / "saved")


def test_covariates_that_the_method_cannot_use_are_refused(series_of):
    series = series_of(
        np.arange(30.0),
        past_covariates={"price": np.arange(30.0)},
        future_covariates={"price": np.arange(6.0)},
    )
    with pytest.raises(InvalidRequest, match="cannot use covariates"):
        model_of(model="auto_ets").fit([series])
