"""Every model of the registry forecasts what can be known: see `forecasts` and `covariates`."""

import pytest

from forecast.core.errors import InvalidRequest
from forecast.models.base.model import BaseTimeSeriesModel
from tests.contract import forecasts
from tests.contract.covariates import KINDS, claims, follows_a_covariate

# What a variant of a family does not do yet. Strict: who mends it takes it out of here.
PRECISION = "keeps_its_precision_far_from_zero"
FAULTS: dict[tuple[str, str], str] = {
    ("statistical", "shifts_with_the_series"): "methods are fitted to values as they are",
    ("statistical", PRECISION): "methods are fitted to values as they are",
    ("prophet", "shifts_with_the_series"): "it divides by the largest absolute value",
    ("prophet", PRECISION): "it divides by the largest absolute value",
    ("prophet", "covers_random_walks"): "its intervals are not calibrated",
    ("chronos-bolt", PRECISION): "float32 before values are standardised",
    ("chronos-chronos2", PRECISION): "float32 before values are standardised",
    ("timesfm20", PRECISION): "float32 before values are standardised",
    ("timesfm25", PRECISION): "float32 before values are standardised",
    ("ts2vec", PRECISION): "float32 before values are standardised",
}


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


def mark_fault(request: pytest.FixtureRequest, name: str) -> None:
    model = request.node.callspec.id.partition("-~")[0]
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
    if not claims(model.spec.capabilities, kind):
        pytest.skip("takes no such covariates")
    if model.spec.config.operator_fields:
        pytest.skip("a service decides")
    mark_fault(request, kind)
    try:
        follows_a_covariate(model, kind, tmp_path)
    except InvalidRequest as refused:
        if not model.spec.variants:
            raise
        pytest.skip(f"this variant takes none: {refused}")
