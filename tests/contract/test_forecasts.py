"""Every model of the registry forecasts what can be known: see `forecasts` and `covariates`."""

import pytest

from forecast.core.errors import InvalidRequest
from forecast.models.base.model import BaseTimeSeriesModel
from tests.contract import forecasts
from tests.contract.covariates import KINDS, claims, follows_a_covariate


def wanted(model: BaseTimeSeriesModel, check: forecasts.Check) -> str | None:
    """Say why a check does not concern a model, or nothing."""
    able, spec = model.capabilities, model.spec
    if spec.config.operator_fields:
        return "a service decides"
    if check in forecasts.OF_READY and not spec.is_ready_at_once:
        return "its weights are made up"
    if check in forecasts.OF_SEASONAL and not able.seasonal:
        return "knows no season"
    if check in forecasts.OF_SHIFTING and not able.shift_equivariant:
        return "does not shift with the series"
    return None


@pytest.mark.parametrize("check", forecasts.ALL, ids=lambda check: check.__name__)
def test_a_forecast_is_right_where_that_can_be_known(model, check):
    if reason := wanted(model, check):
        pytest.skip(reason)
    check(model)


@pytest.mark.parametrize("kind", KINDS)
def test_a_covariate_of_each_kind_it_claims_moves_the_forecast(model, kind, tmp_path):
    if not claims(model.spec.capabilities, kind):
        pytest.skip("takes no such covariates")
    if model.spec.config.operator_fields:
        pytest.skip("a service decides")
    try:
        follows_a_covariate(model, kind, tmp_path)
    except InvalidRequest as refused:
        if not model.spec.variants:
            raise
        pytest.skip(f"this variant takes none: {refused}")
