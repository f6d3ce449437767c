"""Named datasets over HTTP."""

from pathlib import Path

import httpx2
import pytest

from forecast.api.examples import DATASETS
from tests.api.test_training_routes import gateway
from tests.training.request_helpers import CSV, FORM, TABLE, form

DATASETS_PATH = "/forecast/v1/datasets"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def client(home):
    with gateway(home) as client:
        yield client


def test_a_dataset_is_put_shown_replaced_and_forgotten(client, home):
    assert client.get(DATASETS_PATH).json() == {"datasets": [], "count": 0}
    path = f"{DATASETS_PATH}/shops"
    put = client.put(path, content=form(schema=TABLE["schema"]), headers={"Content-Type": FORM})
    assert put.status_code == 201, put.text
    shown = put.json()
    assert (shown["name"], shown["rows"], shown["items"]) == ("shops", 20, 2)
    assert (shown["format"], shown["schema"]["target"]) == ("CSV", "sales")
    assert str(home) not in put.text
    assert client.get(path).json() == shown
    assert client.get(DATASETS_PATH).json() == {"datasets": [shown], "count": 1}

    replaced = client.put(path, json=TABLE)
    assert (replaced.status_code, replaced.json()["format"]) == (200, "JSON")
    assert replaced.json()["sha256"] != shown["sha256"]

    assert client.delete(path).status_code == 204
    assert client.get(path).json()["code"] == "not_found"
    assert client.delete(path).status_code == 404


@pytest.mark.parametrize("name", DATASETS)
def test_every_table_shown_is_kept(client, name):
    put = client.put(f"{DATASETS_PATH}/shown", json=DATASETS[name]["value"])
    assert put.status_code == 201, put.text


@pytest.mark.parametrize("name", ["Sales", "a.b", "-a", "a" * 64, "%2e%2e", "..%2f..%2fx"])
def test_a_name_leads_nowhere_else(client, home, name):
    for method in ("GET", "PUT", "DELETE"):
        answer = client.request(method, f"{DATASETS_PATH}/{name}", json=TABLE)
        assert answer.status_code in (404, 405, 422), answer.text
    assert not list(home.rglob("data-*"))


@pytest.mark.parametrize(
    ("content", "content_type", "status", "pointer"),
    [
        (b"", "application/json", 400, None),
        (b"[]", "application/json", 422, ""),
        (b'{"data": {}}', "application/json", 422, "/schema"),
        (b'{"data": {"a": 1}, "schema": {"target": "a"}}', "application/json", 400, None),
        (CSV.encode(), "text/csv", 415, None),
        (form(schema={"target": "profit"}), FORM, 422, "/schema/target"),
        (form(schema={"target": "sales"}, parameters={}), FORM, 422, "/parameters"),
        (form(schema={"target": "sales"}).replace(b".csv", b"").replace(b"text/csv", b"a/b"), FORM,
         415, None),
    ],
)  # fmt: skip
def test_what_is_no_dataset_is_refused(client, content, content_type, status, pointer):
    path = f"{DATASETS_PATH}/shops"
    answer = client.put(path, content=content, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert pointers == ([] if pointer is None else [pointer])
    assert client.get(path).status_code == 404


def test_each_route_needs_a_key(client):
    url = f"{str(client.base_url).rstrip('/')}{DATASETS_PATH}"
    assert httpx2.get(url, timeout=60).status_code == 401
    assert httpx2.put(f"{url}/shops", json=TABLE, timeout=60).status_code == 401
