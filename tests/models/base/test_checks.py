"""What the base class decides for every family alike, asked of one."""

from dataclasses import replace

import numpy as np
import pytest

from forecast.core.errors import BadData, BadModelOutput, InvalidRequest
from forecast.core.types import Series
from tests.contract.forecasts import TASK, daily
from tests.contract.seasonal_drift import SeasonalDriftModel

LENGTH = 30


@pytest.fixture
def model() -> SeasonalDriftModel:
    return SeasonalDriftModel.tiny()


def series(**covariates: object) -> Series:
    return replace(daily(np.arange(float(LENGTH))), **covariates)


def with_promo(past: int = LENGTH, future: int = TASK.horizon) -> Series:
    return series(
        past_covariates={"promo": np.arange(past) % 3.0},
        future_covariates={"promo": np.arange(future) % 3.0},
    )


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (np.full((1, LENGTH), np.nan), "no observed value"),
        (np.array([[1.0, np.inf, 2.0, 3.0]]), "infinite"),
    ],
)
def test_a_target_that_tells_nothing_is_refused(model, target, says):
    with pytest.raises(BadData, match=says):
        model.predict([series(target=target)], TASK)


def test_limits_are_named(model):
    limit = model.capabilities.max_horizon
    with pytest.raises(InvalidRequest, match=str(limit)):
        model.predict([series()], replace(TASK, horizon=limit + 1))
    with pytest.raises(InvalidRequest, match="at least 3"):
        model.predict([daily(np.arange(2.0))], TASK)
    with pytest.raises(InvalidRequest, match="2 channels"):
        model.predict([series(target=np.ones((2, LENGTH)), channels=("a", "b"))], TASK)


def test_covariates_it_cannot_use_are_refused_by_name(model):
    for wrong in (
        series(past_covariates={"visits": np.ones(LENGTH)}),
        series(static_covariates={"visits": "many"}),
        series(
            past_covariates={"visits": np.full(LENGTH, "many")},
            future_covariates={"visits": np.full(TASK.horizon, "many")},
        ),
    ):
        with pytest.raises(InvalidRequest, match="visits"):
            model.predict([wrong], TASK)


def test_what_is_known_for_the_past_only_is_refused_with_what_could_be_used(model):
    with pytest.raises(InvalidRequest, match="known ahead; the future of visits is not sent"):
        model.predict([series(past_covariates={"visits": np.ones(LENGTH)})], TASK)


def test_covariates_it_cannot_use_may_be_ignored_with_a_warning(model):
    task = replace(TASK, options=model.spec.options(ignore_covariates=True))
    forecast = model.predict([series(static_covariates={"region": "north"})], task)[0]
    assert any("region" in warning for warning in forecast.warnings)
    np.testing.assert_array_equal(forecast.mean, model.predict([series()], TASK)[0].mean)


def test_a_covariate_of_the_wrong_length_is_named_with_the_length_expected(model):
    with pytest.raises(InvalidRequest, match=rf"(?s)promo.*expected {TASK.horizon}"):
        model.predict([with_promo(future=TASK.horizon + 1)], TASK)
    with pytest.raises(InvalidRequest, match=rf"(?s)promo.*expected {LENGTH}"):
        model.predict([with_promo(past=LENGTH - 1)], TASK)


@pytest.mark.parametrize("spoil", [np.nan, np.inf])
def test_a_forecast_that_is_not_finite_never_leaves(spoil):
    class Broken(SeasonalDriftModel):
        def _predict(self, batch, task):
            right = super()._predict(batch, task)
            return [replace(one, mean=one.mean * spoil) for one in right]

    with pytest.raises(BadModelOutput, match="not finite"):
        Broken.tiny().predict([series()], TASK)
