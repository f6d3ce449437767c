"""Every model of the registry forecasts what can be known: see `forecasts` and `covariates`."""

import pytest

from forecast.core.errors import InvalidRequest, NotTrainable
from forecast.models.base.model import BaseTimeSeriesModel
from tests.contract import forecasts
from tests.contract.covariates import KINDS, claims, follows_a_covariate
from tests.contract.lookahead import begins_validation_at_the_split

# Checks that fit a model hundreds of times where one fit takes a second.
SLOW = {("prophet", check.__name__) for check in forecasts.OF_COVERAGE}


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
def test_a_forecast_is_right_where_that_can_be_known(request, model, check):
    if reason := wanted(model, check):
        pytest.skip(reason)
    named = (model.spec.model_id, check.__name__)
    if named in SLOW and not request.config.getoption("--slow"):
        pytest.skip("slow; --slow runs it")
    check(model)


@pytest.mark.parametrize("kind", KINDS)
def test_a_covariate_of_each_kind_it_claims_moves_the_forecast(request, model, kind, tmp_path):
    if not claims(model.spec.capabilities, kind):
        pytest.skip("takes no such covariates")
    if model.spec.config.operator_fields:
        pytest.skip("a service decides")
    is_direct = model.spec.needs_training or claims(model.capabilities, kind)
    if not is_direct and not request.config.getoption("--slow"):
        pytest.skip("slow; --slow fine-tunes it first")
    try:
        follows_a_covariate(model, kind, tmp_path)
    except InvalidRequest as refused:
        if not model.spec.variants:
            raise
        pytest.skip(f"this variant takes none: {refused}")


def test_no_validation_window_begins_before_the_split(model, tmp_path):
    if not (model.spec.needs_training or model.spec.capabilities.fine_tunable):
        pytest.skip("learns nothing by windows")
    if model.spec.config.operator_fields:
        pytest.skip("a service decides")
    try:
        begins_validation_at_the_split(model, tmp_path)
    except NotTrainable as refused:
        if not model.spec.variants:
            raise
        pytest.skip(f"this variant does not learn: {refused}")
