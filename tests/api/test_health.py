"""Is it up, is it well, may it take work."""

import asyncio

from forecast.api import states
from forecast.core.errors import HostUnavailable
from forecast.serving.hosts import Answer
from tests.api.serving import ScriptedHost, client_of, failing, replying, status_answer


def ready(model_id):
    return replying(model_id, status_answer("ready"))


def unloaded(model_id):
    return replying(model_id, status_answer("uninitialized"))


def test_health_shows_every_model_and_an_unloaded_one_is_well():
    with client_of({"one": ready("one"), "two": unloaded("two")}) as client:
        document = client.get("/health").json()
    assert document["status"] == "healthy"
    assert document["version"] == "1.2.3"
    assert document["uptime_s"] >= 0
    assert document["models"] == {
        "one": {"model_status": "ready", "details": None},
        "two": {"model_status": "uninitialized", "details": None},
    }


def test_one_model_in_error_degrades_the_whole_and_hides_nothing_else():
    hosts = {"one": ready("one"), "two": failing("two", HostUnavailable("it crashed"))}
    with client_of(hosts) as client:
        response = client.get("/health")
    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert response.json()["models"]["one"]["model_status"] == "ready"
    assert response.json()["models"]["two"]["details"] == "it crashed"


def test_a_host_that_answers_nonsense_or_errors_is_in_error():
    odd = replying("odd", Answer(502, b'{"detail": "its key is wrong"}'))
    with client_of({"odd": odd}) as client:
        assert client.get("/health").json()["models"]["odd"]["details"] == "its key is wrong"


def test_a_host_that_hangs_does_not_hang_health(monkeypatch):
    monkeypatch.setattr(states, "_PATIENCE_S", 0.05)

    async def hang(call):
        await asyncio.Event().wait()

    with client_of({"slow": ScriptedHost("slow", hang), "one": ready("one")}) as client:
        models = client.get("/health").json()["models"]
    assert models["one"]["model_status"] == "ready"
    assert "no answer within" in models["slow"]["details"]


def test_live_asks_no_host():
    host = failing("toy", HostUnavailable("away"))
    with client_of({"toy": host}) as client:
        assert client.get("/health/live").json() == {"status": "alive"}
    assert host.calls == []


def test_ready_waits_for_the_models_it_needs_and_for_no_other():
    hosts = {"one": ready("one"), "two": unloaded("two")}
    with client_of(hosts, required_models=("one",)) as client:
        response = client.get("/health/ready")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "checks": {
            "accepting": {"ok": True, "reason": None},
            "model:one": {"ok": True, "reason": None},
        },
    }


def test_ready_gives_a_reason_for_every_check_that_fails():
    hosts = {
        "one": ready("one"),
        "two": unloaded("two"),
        "three": replying("three", status_answer("error", "the disk is full")),
    }
    with client_of(hosts, required_models=("one", "two", "three")) as client:
        response = client.get("/health/ready")
    document = response.json()
    assert (response.status_code, document["code"]) == (503, "not_ready")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "2"
    assert document["checks"]["model:one"] == {"ok": True, "reason": None}
    assert document["checks"]["model:two"] == {"ok": False, "reason": "uninitialized (not loaded)"}
    assert "error (the disk is full)" in document["detail"]
