import numpy as np
import pytest
import torch

from forecast.core.errors import InvalidRequest
from forecast.core.types import ForecastTask
from forecast.models.timesfm20.spec import TimesFM20Options

HORIZON = 12
DECILES = tuple(decile / 10 for decile in range(1, 10))
MODES = ["xreg + timesfm", "timesfm + xreg"]


def task_of(mode="xreg + timesfm", **options):
    options = TimesFM20Options(xreg_mode=mode, **options)
    return ForecastTask(horizon=HORIZON, quantile_levels=DECILES, options=options)


def least_squares(past, future, y):
    """Fit y on an intercept and one covariate: what it says of past and future."""
    slope, intercept = np.polyfit(past, y, 1)
    return intercept + slope * past, intercept + slope * future


@torch.inference_mode()
def heads_of_the_library(library, target, **arguments):
    answer = library(past_values=[torch.tensor(target, dtype=torch.float32)], **arguments)
    return answer.full_predictions[0].numpy()


def check(forecast, heads):
    np.testing.assert_allclose(forecast.mean[0], heads[:, 0], rtol=1e-4, atol=1e-3)
    quantiles = np.sort(heads[:, 1:], axis=1)
    np.testing.assert_allclose(forecast.quantiles[0].T, quantiles, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("steps", [60, 128, 200])
def test_regressing_first_forecasts_the_residual_with_the_library(model, library, series_of, steps):
    series = series_of(steps, horizon=HORIZON)
    y = series.target[0]
    price = series.past_covariates["price"], series.future_covariates["price"]
    past, future = least_squares(*price, (y - y.mean()) / y.std())
    residual = heads_of_the_library(library, (y - y.mean()) / y.std() - past)[:HORIZON]
    (forecast,) = model.predict([series], task_of())
    check(forecast, (residual + future[:, None]) * y.std() + y.mean())


@pytest.mark.parametrize("steps", [60, 128, 200])
def test_forecasting_first_regresses_the_errors_of_the_librarys_backcast(
    model, library, series_of, steps
):
    series = series_of(steps, horizon=HORIZON)
    heads = heads_of_the_library(library, series.target[0], return_forecast_on_context=True)
    known = steps - 32
    errors = series.target[0][-known:] - heads[:-128, 0][-known:]
    price = series.past_covariates["price"][-known:], series.future_covariates["price"]
    _, future = least_squares(*price, errors)
    (forecast,) = model.predict([series], task_of("timesfm + xreg"))
    check(forecast, heads[-128:][:HORIZON] + future[:, None])


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_with_covariates_answers_as_its_members_alone(model, series_of, mode):
    batch = [series_of(40 + 30 * seed, seed=seed, horizon=HORIZON) for seed in range(4)]
    batch[2].target[0, [0, 1, 60]] = np.nan
    for series, together in zip(batch, model.predict(batch, task_of(mode)), strict=True):
        (alone,) = model.predict([series], task_of(mode))
        np.testing.assert_allclose(together.mean, alone.mean, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(together.quantiles, alone.quantiles, rtol=1e-4, atol=1e-3)


def test_the_floor_holds_after_the_regression(model, series_of):
    series = series_of(90, level=5.0, horizon=HORIZON)
    series.target[0] = np.abs(series.target[0])
    cheap = {"price": series.future_covariates["price"] - 40}
    cheaper = series_of(
        90, target=series.target, past_covariates=series.past_covariates, future_covariates=cheap
    )
    (free,) = model.predict([cheaper], task_of())
    (floored,) = model.predict([cheaper], task_of(truncate_negative=True))
    assert free.mean.min() < 0
    np.testing.assert_array_equal(floored.mean, np.maximum(free.mean, 0))


def test_too_short_a_context_for_backcasts_is_refused(model, series_of):
    with pytest.raises(InvalidRequest, match="at least 33 past steps"):
        model.check(series_of(32, horizon=HORIZON), task_of("timesfm + xreg"))


def test_a_covariate_known_only_of_the_past_is_refused(model, series_of):
    series = series_of(50, past_covariates={"visits": np.arange(50.0)})
    with pytest.raises(InvalidRequest, match="visits"):
        model.predict([series], task_of())
