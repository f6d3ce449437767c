"""The routes of every model: bytes in, bytes out."""

import orjson
import pytest
from fastapi import APIRouter, Response

from forecast.api.model_routes import model_router
from forecast.api.options import ApiOptions
from forecast.core.errors import HostUnavailable
from forecast.serving.hosts import Answer, Host, Operation
from tests.api.serving import (
    ScriptedHost,
    client_of,
    failing,
    json_answer,
    replying,
    spec_of,
    status_answer,
)


def test_the_body_and_the_headers_reach_the_host_untouched():
    host = replying("toy", Answer(200, b"\x00answer\xff", "text/csv", {"X-More": "1"}))
    body = b'{"inputs":  [ 1.00 ]}\n\xff'
    with client_of({"toy": host}) as client:
        response = client.post(
            "/forecast/v1/toy/inference",
            content=body,
            headers={
                "Content-Type": "application/vnd.of-the-test",
                "Accept": "text/csv",
                "X-Request-ID": "r1",
            },
        )
    (call,) = host.calls
    assert (call.operation, call.body) == (Operation.INFERENCE, body)
    assert (call.content_type, call.accept) == ("application/vnd.of-the-test", "text/csv")
    assert call.request_id == "r1"
    assert (response.status_code, response.content) == (200, b"\x00answer\xff")
    assert response.headers["content-type"].startswith("text/csv")
    assert response.headers["x-more"] == "1"


@pytest.mark.parametrize(
    ("method", "operation"),
    [
        ("POST", "initialization"),
        ("GET", "status"),
        ("POST", "inference"),
        ("POST", "shutdown"),
    ],
)
def test_each_operation_is_a_call_of_the_host_and_its_answer_passes_on(method, operation):
    host = replying("toy", json_answer({"said": operation}, 202))
    with client_of({"toy": host}) as client:
        response = client.request(method, f"/forecast/v1/toy/{operation}")
    assert [call.operation for call in host.calls] == [operation]
    assert (response.status_code, response.json()) == (202, {"said": operation})


@pytest.mark.parametrize("path", ["/forecast/v1/toy", "/forecast/v1/toy/"])
def test_the_entry_shows_the_registry_and_the_state(path):
    host = replying("toy", status_answer("initializing", "loading the weights"))
    with client_of({"toy": host}) as client:
        entry = client.get(path).json()
    assert entry["id"] == "toy"
    info = orjson.loads(orjson.dumps(host.spec.info))
    assert entry | info == entry
    assert entry["state"]["model_status"] == "initializing"


def test_the_entry_of_a_model_whose_host_is_away_says_so():
    with client_of({"toy": failing("toy", HostUnavailable("no answer"))}) as client:
        response = client.get("/forecast/v1/toy")
    assert response.status_code == 200
    assert response.json()["state"] == {
        "model_status": "error",
        "details": "no answer",
        "source": None,
        "version": None,
        "device": None,
        "loaded_at": None,
    }


def test_hosts_start_and_close_with_the_application():
    host = replying("toy", status_answer("ready"))
    with client_of({"toy": host}) as client:
        client.get("/health/live")
        assert host.life == ["started"]
    assert host.life == ["started", "closed"]


def router_with_more(host: Host, prefix: str, options: ApiOptions) -> APIRouter:
    """What a model's own `router` may be: the shared routes and one of its own."""
    router = model_router(host, prefix, options)

    @router.get("/more")
    async def more() -> Response:
        return Response(host.spec.name)

    return router


def test_a_model_may_add_routes_of_its_own():
    host = ScriptedHost("toy", replying("toy", status_answer("ready")).call)
    host.spec = spec_of("toy", router="tests.api.test_model_routes:router_with_more")
    with client_of({"toy": host}) as client:
        assert client.get("/forecast/v1/toy/more").text == "Toy"
        assert client.get("/forecast/v1/toy/status").json()["model_status"] == "ready"
        paths = client.get("/openapi.json").json()["paths"]
    assert {"/forecast/v1/toy/more", "/forecast/v1/{model_id}/status"} <= set(paths)
    assert "/forecast/v1/{model_id}/more" not in paths
