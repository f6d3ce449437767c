"""What is here, for who has no key and for who has one."""

import httpx2
import pytest

from forecast.api.alias_routes import Versions
from forecast.api.app import create_app
from forecast.api.options import ApiOptions
from forecast.core.errors import HostUnavailable
from forecast.store.config import StoreConfig
from forecast.store.versions import ModelStore
from tests.api.serving import OPTIONS, client_of, failing, replying, running, status_answer
from tests.api.training_parts import training_in


@pytest.fixture
def client():
    hosts = {
        "one": replying("one", status_answer("ready")),
        "two": failing("two", HostUnavailable("away")),
    }
    with client_of(hosts, limits={"max_queue": 7}, max_body_bytes=4096) as client:
        yield client


def test_the_root_links_to_paths_that_answer(client):
    document = client.get("/").json()
    assert (document["name"], document["version"]) == ("forecast", "1.2.3")
    assert set(document["links"]) >= {"models", "health", "info", "docs", "openapi"}
    for path in document["links"].values():
        assert client.get(path).status_code == 200


def test_info_tells_the_limits_that_are_enforced(client):
    limits = client.get("/info").json()["limits"]
    assert limits == {"max_body_bytes": 4096, "max_queue": 7}


def test_info_names_training_and_versions_only_where_they_are(client, tmp_path):
    assert "yearly snapshots" not in client.get("/info").json()["features"]
    hosts = {"one": replying("one", status_answer("ready"))}
    versions = Versions(ModelStore(StoreConfig(root=tmp_path)))
    app = create_app(
        hosts, ApiOptions(**OPTIONS), training=training_in(tmp_path), versions=versions
    )
    with running(app) as url:
        features = httpx2.get(f"{url}/info", timeout=60).json()["features"]
    assert {"yearly snapshots", "backtests", "forecasts as of a date"} <= set(features)


def test_the_registry_lists_what_the_contract_names(client):
    document = client.get("/models").json()
    assert (document["count"], list(document["models"])) == (2, ["one", "two"])
    assert set(document["models"]["one"]) == {
        "name",
        "version",
        "description",
        "module",
        "router_path",
        "service_path",
        "default_port",
        "status",
        "capabilities",
        "license",
        "sources",
        "documentation",
    }


def test_models_adds_the_state_of_each(client):
    models = client.get("/forecast/v1/models").json()["models"]
    assert models["one"]["state"]["model_status"] == "ready"
    assert models["two"]["state"]["details"] == "away"


def test_documents_can_be_switched_off():
    with client_of({"one": replying("one", status_answer("ready"))}, docs=False) as client:
        assert set(client.get("/").json()["links"]) == {"models", "health", "info"}
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert client.get(path).status_code == 404
