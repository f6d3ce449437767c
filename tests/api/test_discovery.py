"""What is here, for who has no key and for who has one."""

import pytest

from forecast.core.errors import HostUnavailable
from tests.api.serving import client_of, failing, replying, status_answer


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
