"""Requests made from our own document: never a 5xx, and every answer as the document says."""

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from forecast.settings import Settings
from forecast.wiring import gateway_app
from tests.api.serving import AUTH, KEY, running

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]


OPERATIONS = [
    ("GET", "/"),
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/info"),
    ("GET", "/models"),
    ("GET", "/forecast/v1/models"),
    ("POST", "/forecast/v1/forecast"),
    ("GET", "/forecast/v1/statistical"),
    ("GET", "/forecast/v1/statistical/status"),
    ("POST", "/forecast/v1/statistical/inference"),
    ("POST", "/forecast/v1/statistical/initialization"),
    ("POST", "/forecast/v1/statistical/shutdown"),
    ("POST", "/forecast/v1/statistical/training"),
    ("GET", "/forecast/v1/jobs"),
    ("GET", "/forecast/v1/jobs/{job_id}"),
    ("POST", "/forecast/v1/jobs/{job_id}/cancel"),
    ("GET", "/forecast/v1/jobs/{job_id}/result"),
]
WITH_BODY = 100  # requests of each mode; a route without a body has but one request to make


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """The document of a gateway that holds the statistical models."""
    home = tmp_path_factory.mktemp("home")
    chosen = Settings(home=home, api_key=KEY, inline=("all",), models=("statistical",))
    with running(gateway_app(chosen, {})) as url:
        # With a default horizon, what is made up gets as far as a forecast more often.
        first = f"{url}/forecast/v1/statistical/initialization"
        assert httpx2.post(first, json={"horizon_len": 3}, headers=AUTH, timeout=60).is_success
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


def test_every_operation_is_tried(document):
    found = {
        (method.upper(), path)
        for path, operations in document.raw_schema["paths"].items()
        for method in operations
    }
    assert found == set(OPERATIONS)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_gateway_keeps_to_its_document(document, method, path, mode):
    operation = document[path][method]
    if mode is GenerationMode.NEGATIVE and not operation.body:
        return  # nothing that could be wrong

    @seed(7)
    @settings(
        max_examples=WITH_BODY if operation.body else 2,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def keeps_to_it(case):
        case.call_and_validate(headers=AUTH, checks=CHECKS, timeout=60)

    keeps_to_it()
