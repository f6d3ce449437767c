"""Requests made from our own document: never a 5xx, and every answer as the document says."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from forecast.core.state import ModelMetadata
from forecast.data.bodies import timeout_of
from forecast.data.policy import DataPolicy
from forecast.jobs import worker_rows
from forecast.jobs.database import clock, engine_of, prepare
from forecast.settings import Settings
from forecast.store.config import StoreConfig
from forecast.store.versions import ModelStore
from forecast.wiring.gateway import gateway_app
from tests.api.serving import AUTH, KEY, running
from tests.examples import examples


def no_error_of_ours(context, response, case) -> None:
    """A time limit that is made up may be too short for anything; else nothing is our fault."""
    if response.status_code != 504:
        not_a_server_error(context, response, case)
        return
    sent = response.request
    assert timeout_of(sent.body, sent.headers.get("Content-Type", ""), DataPolicy()) < 5


CHECKS = [
    no_error_of_ours,
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
    ("GET", "/forecast/v1/{model_id}"),
    ("GET", "/forecast/v1/{model_id}/status"),
    ("POST", "/forecast/v1/{model_id}/inference"),
    ("POST", "/forecast/v1/{model_id}/initialization"),
    ("POST", "/forecast/v1/{model_id}/shutdown"),
    ("POST", "/forecast/v1/{model_id}/training"),
    ("POST", "/forecast/v1/{model_id}/backtest"),
    ("GET", "/forecast/v1/{model_id}/versions"),
    ("GET", "/forecast/v1/{model_id}/versions/{name}"),
    ("GET", "/forecast/v1/{model_id}/snapshots"),
    ("GET", "/forecast/v1/{model_id}/aliases"),
    ("GET", "/forecast/v1/{model_id}/aliases/{alias}"),
    ("PUT", "/forecast/v1/{model_id}/aliases/{alias}"),
    ("DELETE", "/forecast/v1/{model_id}/aliases/{alias}"),
    ("GET", "/forecast/v1/{model_id}/aliases/{alias}/history"),
    ("POST", "/train/{model_id}"),
    ("GET", "/forecast/v1/datasets"),
    ("GET", "/forecast/v1/datasets/{name}"),
    ("PUT", "/forecast/v1/datasets/{name}"),
    ("DELETE", "/forecast/v1/datasets/{name}"),
    ("GET", "/forecast/v1/jobs"),
    ("GET", "/forecast/v1/jobs/{job_id}"),
    ("GET", "/forecast/v1/jobs/{job_id}/events"),
    ("GET", "/forecast/v1/jobs/{job_id}/log"),
    ("GET", "/forecast/v1/jobs/{job_id}/result"),
    ("POST", "/forecast/v1/jobs/{job_id}/cancel"),
    ("POST", "/forecast/v1/jobs/{job_id}/retry"),
]
FRAMING = {"content-length", "transfer-encoding"}  # wrong ones never get as far as a route
WITH_BODY = examples(100)  # requests of each mode
WITH_PARAMETERS = examples(20)
WITHOUT = examples(2)  # a route without either has but one request to make


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """The document of a gateway that holds the statistical models."""
    home = tmp_path_factory.mktemp("home")
    chosen = Settings(
        home=home,
        api_key=KEY,
        inline=("all",),
        models=("statistical",),
        workers=0,
        worker_lost_s=3600,
    )
    with running(gateway_app(chosen, {})) as url, ready_to_work(chosen):
        # With a default horizon, what is made up gets as far as a forecast more often.
        first = f"{url}/forecast/v1/statistical/initialization"
        assert httpx2.post(first, json={"horizon_len": 3}, headers=AUTH, timeout=60).is_success
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


@contextmanager
def ready_to_work(chosen: Settings) -> Iterator[None]:
    """Have a worker that lives and does nothing, so that all jobs wait; and a stored version."""
    shelf = ModelStore(StoreConfig(root=chosen.models_folder)).model("statistical")
    with shelf.new_draft() as draft:
        (draft / "config.json").write_text("{}")
        shelf.publish(draft, ModelMetadata(model_id="statistical", version="v1.0"))
    shelf.aliases.set("current", "v1.0", who="a test", why="to have one")
    engine = engine_of(chosen.jobs_database)
    prepare(engine, chosen.jobs_database)
    with engine.begin() as connection:
        worker = worker_rows.WorkerRow("w/0/1", "0", "here", 1)
        worker_rows.arrive(connection, worker, clock(engine))
    yield
    engine.dispose()


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
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
        return  # nothing that could be wrong
    examples = WITH_BODY if operation.body else WITH_PARAMETERS if operation.query else WITHOUT

    @seed(7)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def keeps_to_it(case):
        assume(not FRAMING & {name.lower() for name in case.headers or ()})
        case.call_and_validate(headers=AUTH, checks=CHECKS, timeout=60)

    keeps_to_it()
