"""Everything needs a key, except what is listed as public."""

import httpx2
import pytest

from forecast.api.app import create_app
from forecast.api.options import ApiOptions
from forecast.api.security import PUBLIC_PATHS
from tests.api.serving import AUTH, KEY, client_of, replying, running, status_answer


@pytest.fixture
def hosts():
    return {"toy": replying("toy", status_answer("ready"))}


@pytest.fixture
def anonymous(hosts):
    app = create_app(hosts, ApiOptions(version="1", api_keys=(KEY, "the-second-key")))
    with running(app) as url, httpx2.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.mark.parametrize("path", sorted(PUBLIC_PATHS))
def test_a_public_path_needs_no_key(anonymous, path):
    assert anonymous.get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/forecast/v1/toy/inference"),
        ("POST", "/forecast/v1/toy/initialization"),
        ("POST", "/forecast/v1/toy/shutdown"),
        ("GET", "/forecast/v1/toy/status"),
        ("GET", "/forecast/v1/toy"),
        ("POST", "/forecast/v1/forecast"),
        ("GET", "/forecast/v1/models"),
        ("GET", "/no/such/path"),
        ("GET", "/health/../forecast/v1/models"),
        ("GET", "/models/"),
    ],
)
def test_anything_else_needs_one(anonymous, hosts, method, path):
    response = anonymous.request(method, path)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.json()["code"] == "unauthorized"
    assert hosts["toy"].calls == []


@pytest.mark.parametrize(
    "headers",
    [
        AUTH,
        {"Authorization": f"bearer  {KEY}"},
        {"X-API-Key": KEY},
        {"X-API-Key": "the-second-key"},
        {"Authorization": "Basic dTpw", "X-API-Key": KEY},
    ],
)
def test_a_key_opens_in_either_header(anonymous, headers):
    assert anonymous.get("/forecast/v1/toy/status", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": ""},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": KEY + "x"},
        {"X-API-Key": f"{KEY},the-second-key"},
        {"Authorization": KEY},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong", "X-API-Key": KEY},
        {"X-API-Key": "schl\u00fcssel".encode("latin-1")},
    ],
)
def test_a_wrong_key_does_not(anonymous, headers):
    response = anonymous.get("/forecast/v1/toy/status", headers=headers)
    assert response.status_code == 401
    assert KEY not in response.text


def test_a_socket_without_keys_is_open(hosts):
    with client_of(hosts, api_keys=()) as client:
        del client.headers["Authorization"]
        assert client.get("/forecast/v1/toy/status").status_code == 200
