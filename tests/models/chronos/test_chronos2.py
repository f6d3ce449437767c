from dataclasses import replace

import numpy as np
import pytest
import torch
from chronos import Chronos2Pipeline

from forecast.core.errors import InvalidRequest
from forecast.core.types import ForecastTask, Series
from forecast.models.chronos.model import ChronosModel
from tests.models.chronos.walks import assert_same, walk, with_covariates

LEVELS = (0.01, *(level / 20 for level in range(1, 20)), 0.99)  # all it has, as they may cross
LENGTHS = (1, 2, 15, 16, 17, 100, 512, 700)


@pytest.fixture(scope="module")
def library(folders):
    return Chronos2Pipeline.from_pretrained(folders["chronos2"], dtype=torch.float32)


def asked_of_the_library(library, series: Series, horizon: int):
    """Ask for one series alone: the library numbers categories over a whole batch."""
    known = {name: values.copy() for name, values in series.future_covariates.items()}
    past = {name: values.copy() for name, values in series.past_covariates.items()}
    inputs = [{"target": series.target, "past_covariates": past, "future_covariates": known}]
    quantiles, mean = library.predict_quantiles(
        inputs, prediction_length=horizon, quantile_levels=list(LEVELS)
    )
    return np.sort(quantiles[0].numpy().transpose(0, 2, 1), axis=1), mean[0].numpy()


def assert_as_the_library(chronos2, library, batch: list[Series], horizon: int) -> None:
    forecasts = chronos2.predict(batch, ForecastTask(horizon, LEVELS))
    for series, forecast in zip(batch, forecasts, strict=True):
        quantiles, mean = asked_of_the_library(library, series, horizon)
        np.testing.assert_allclose(forecast.mean, mean, rtol=1e-5)
        np.testing.assert_allclose(forecast.quantiles, quantiles, rtol=1e-5)


@pytest.mark.parametrize("horizon", [1, 16, 17, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_answers_as_the_authors_own_pipeline_does(chronos2, library, channels, horizon):
    batch = [walk(length, channels=channels) for length in LENGTHS]
    assert_as_the_library(chronos2, library, batch, horizon)


@pytest.mark.parametrize("channels", [1, 3])
def test_covariates_are_read_as_the_authors_read_them(chronos2, library, channels):
    batch = [
        with_covariates(walk(length, channels=channels), 20) for length in LENGTHS if length <= 512
    ]
    assert_as_the_library(chronos2, library, batch, 20)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_series_with_categories_answers_the_same_in_any_company(chronos2, channels):
    """The library's own batch fails this for several channels."""
    one = with_covariates(walk(60, channels=channels), 20)
    other = replace(
        with_covariates(walk(60, channels=channels, seed=1), 20),
        past_covariates=one.past_covariates | {"weather": np.repeat(["ash", "fog"], 30)},
    )
    task = ForecastTask(20)
    alone = chronos2.predict([one], task)[0]
    assert_same(chronos2.predict([other, one], task)[1], alone)
    assert_same(chronos2.predict([one, other], task)[0], alone)


@pytest.mark.parametrize("name", ["weather", "temperature", "wind"])
def test_every_covariate_changes_the_forecast(chronos2, name):
    series = with_covariates(walk(60), 20)
    without = replace(
        series,
        past_covariates={key: past for key, past in series.past_covariates.items() if key != name},
        future_covariates={
            key: future for key, future in series.future_covariates.items() if key != name
        },
    )
    task = ForecastTask(20)
    one, other = chronos2.predict([series], task)[0], chronos2.predict([without], task)[0]
    assert np.abs(one.mean - other.mean).max() > 1e-3


def test_the_future_of_a_covariate_changes_the_forecast(chronos2):
    series = with_covariates(walk(60), 20)
    future = series.future_covariates | {"temperature": np.full(20, 9.0)}
    task = ForecastTask(20)
    one = chronos2.predict([series], task)[0]
    other = chronos2.predict([replace(series, future_covariates=future)], task)[0]
    assert np.abs(one.mean - other.mean).max() > 1e-3


def test_a_channel_changes_the_forecast_of_another(chronos2):
    pair = walk(60, channels=2)
    alone = replace(pair, target=pair.target[:1])
    task = ForecastTask(20)
    together = chronos2.predict([pair], task)[0].mean[0]
    assert np.abs(together - chronos2.predict([alone], task)[0].mean[0]).max() > 1e-3


def test_missing_covariates_are_coped_with(chronos2):
    series = with_covariates(walk(60), 20)
    wind = np.full(60, np.nan)
    temperature = series.future_covariates["temperature"].copy()
    temperature[3:] = np.nan
    holed = replace(
        series,
        past_covariates=series.past_covariates | {"wind": wind},
        future_covariates=series.future_covariates | {"temperature": temperature},
    )
    assert np.isfinite(chronos2.predict([holed], ForecastTask(20))[0].quantiles).all()


def test_the_answer_depends_on_the_patches_of_the_future_so_only_those_are_shared(chronos2):
    series = walk(60)
    short, same, longer = (
        chronos2.predict([series], ForecastTask(horizon))[0].first(5) for horizon in (5, 16, 17)
    )
    assert chronos2.shared_horizon(5) == chronos2.shared_horizon(16) == 16
    assert_same(short, same)
    assert np.abs(short.mean - longer.mean).max() > 1e-4


def test_a_call_holds_no_more_rows_than_the_batch_size(folders, chronos2, monkeypatch):
    small = ChronosModel.load_model(folders["chronos2"], device="cpu", batch_size=7)
    rows = []
    forward = small.network.forward

    def counted(context, **rest):
        rows.append(len(context))
        return forward(context=context, **rest)

    monkeypatch.setattr(small.network, "forward", counted)
    batch = [with_covariates(walk(40, seed=seed), 4) for seed in range(3)]  # of 4 rows each
    batch.append(with_covariates(walk(40, channels=9), 4))  # of 12
    task = ForecastTask(4)
    for series, forecast in zip(batch, small.predict(batch, task), strict=True):
        assert_same(forecast, chronos2.predict([series], task)[0])
    assert rows == [4, 4, 4, 12]


def test_its_limits_are_the_checkpoints(chronos2):
    able = chronos2.capabilities
    assert able.multivariate
    assert able.past_covariates
    assert able.future_covariates
    assert able.categorical_covariates
    assert (able.max_context, able.max_horizon) == (512, 128)


def test_static_covariates_are_refused(chronos2):
    series = replace(walk(30), static_covariates={"shop": "north"})
    with pytest.raises(InvalidRequest, match="shop"):
        chronos2.predict([series], ForecastTask(4))
