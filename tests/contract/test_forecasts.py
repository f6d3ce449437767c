"""Every model of the registry forecasts what can be known: see `forecasts` and `covariates`."""

import pytest

from forecast.models.base.model import BaseTimeSeriesModel
from tests.contract import forecasts
from tests.contract.covariates import KINDS, claims, follows_a_covariate

# What a variant of a family does not do yet. Strict: who mends it takes it out of here.
FAULTS: dict[tuple[str, str], str] = {}


def wanted(model: BaseTimeSeriesModel, check: forecasts.Check) -> str | None:
    """Say why a check does not concern a model, or nothing."""
    able, spec = model.capabilities, model.spec
    if check in forecasts.OF_READY and not spec.is_ready_at_once:
        return "its weights are made up"
    if check in forecasts.OF_SEASONAL and not able.seasonal:
        return "knows no season"
    if check in forecasts.OF_SHIFTING and not able.shift_equivariant:
        return "does not shift with the series"
    return None


def mark_fault(request: pytest.FixtureRequest, name: str) -> None:
    model = request.node.callspec.id.split("~")[0]
    if reason := FAULTS.get((model, name)):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.mark.parametrize("check", forecasts.ALL, ids=lambda check: f"~{check.__name__}")
def test_a_forecast_is_right_where_that_can_be_known(request, model, check):
    if reason := wanted(model, check):
        pytest.skip(reason)
    mark_fault(request, check.__name__)
    check(model)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"~{kind}")
def test_a_covariate_of_each_kind_it_claims_moves_the_forecast(request, model, kind, tmp_path):
    spec = model.spec
    if not claims(model.capabilities if spec.variants else spec.capabilities, kind):
        pytest.skip("takes no such covariates")
    if spec.config.operator_fields:
        pytest.skip("a service decides")
    mark_fault(request, kind)
    follows_a_covariate(model, kind, tmp_path)
