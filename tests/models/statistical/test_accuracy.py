"""The statistical models are as accurate as published, or as the seasonal naive."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecast.core import accuracy
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.models.statistical.spec import StatisticalOptions

SHARED = Path(__file__).parents[3] / "../shared/data"


def rows_of(name: str) -> list[np.ndarray]:
    table = pd.read_csv(SHARED / name).iloc[:, 1:].to_numpy(dtype=np.float64)
    return [row[~np.isnan(row)] for row in table]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared M4 data are not beside the project")
def test_seasonal_naive_reproduces_the_published_m4_hourly_errors(model):
    history, actual = rows_of("m4_hourly_train.csv.gz"), rows_of("m4_hourly_test.csv.gz")
    hourly = Frequency.parse("h")
    task = ForecastTask(48, (), options=StatisticalOptions(model="seasonal_naive"))
    forecasts = model.predict([Series(row[None], freq=hourly) for row in history], task)
    points = [forecast.mean[0] for forecast in forecasts]
    smape = np.mean([accuracy.smape(y, f) for y, f in zip(actual, points, strict=True)])
    mase = np.mean(
        [accuracy.mase(y, f, h, 24) for y, f, h in zip(actual, points, history, strict=True)]
    )
    assert len(points) == 414
    assert f"{smape:.3f}" == "13.912"
    assert f"{mase:.3f}" == "1.193"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not beside the project")
def test_the_sample_is_the_series_everybody_knows(airline):
    assert airline.shape == (144,)
    known = pd.read_csv(SHARED / "air_passengers.csv")["value"].to_numpy()
    np.testing.assert_array_equal(airline, known)


@pytest.mark.parametrize("name", ["auto", "auto_arima", "auto_theta", "auto_ces", "mstl"])
def test_on_the_airline_series_it_beats_the_seasonal_naive(name, model, airline, series_of):
    history, actual = airline[:-12], airline[-12:]

    def error(method: str) -> float:
        task = ForecastTask(12, (), options=StatisticalOptions(model=method))
        [forecast] = model.predict([series_of(history)], task)
        return accuracy.mase(actual, forecast.mean[0], history, 12)

    assert error(name) < error("seasonal_naive")
