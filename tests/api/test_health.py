"""Is it up, is it well, may it take work."""

import asyncio

import httpx2

from forecast.api import health, states
from forecast.api.app import create_app
from forecast.api.health import check_of_jobs, check_of_store
from forecast.api.options import ApiOptions
from forecast.core.errors import HostUnavailable
from forecast.jobs import worker_rows
from forecast.jobs.database import clock, engine_of
from forecast.serving.hosts import Answer
from tests.api.serving import (
    OPTIONS,
    ScriptedHost,
    client_of,
    failing,
    replying,
    running,
    status_answer,
)
from tests.api.training_parts import training_in


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


def readiness(**checks) -> httpx2.Response:
    app = create_app({"one": ready("one")}, ApiOptions(**OPTIONS), checks=checks)
    with running(app) as url:
        return httpx2.get(f"{url}/health/ready", timeout=60)


def test_a_gateway_whose_workers_are_elsewhere_is_ready_without_them(tmp_path):
    jobs = training_in(tmp_path).jobs
    found = readiness(jobs=check_of_jobs(jobs, needs_worker=False))
    assert found.status_code == 200
    assert set(found.json()["checks"]) == {"accepting", "database"}


def test_ready_looks_at_database_worker_and_store(tmp_path):
    jobs = training_in(tmp_path).jobs
    checks = {"jobs": check_of_jobs(jobs), "store": check_of_store(tmp_path / "models")}
    found = readiness(**checks)
    assert found.status_code == 503
    assert found.json()["checks"] == {
        "accepting": {"ok": True, "reason": None},
        "database": {"ok": True, "reason": None},
        "worker": {"ok": False, "reason": "no worker is alive"},
        "store": {"ok": True, "reason": None},
    }
    assert list((tmp_path / "models").iterdir()) == []

    engine = engine_of(f"sqlite:///{tmp_path / 'jobs.db'}")
    with engine.begin() as connection:
        worker = worker_rows.WorkerRow("w/0/1", "0", "here", 1)
        worker_rows.arrive(connection, worker, clock(engine))
    engine.dispose()
    assert readiness(**checks).status_code == 200


def test_a_database_that_is_away_and_a_store_that_is_no_folder_are_named(tmp_path):
    (tmp_path / "models").write_text("a file")
    away = training_in(tmp_path, database_url="postgresql://nobody@127.0.0.1:1/none").jobs
    found = readiness(jobs=check_of_jobs(away), store=check_of_store(tmp_path / "models"))
    checks = found.json()["checks"]
    assert "does not answer" in checks["database"]["reason"]
    assert checks["worker"]["reason"] == "not known without the database"
    assert "cannot be written" in checks["store"]["reason"]
    assert str(tmp_path) not in found.text


def test_a_check_that_hangs_or_fails_is_one_that_is_not_ready(monkeypatch):
    monkeypatch.setattr(health, "_PATIENCE_S", 0.05)

    async def hang():
        await asyncio.Event().wait()

    async def fail():
        raise HostUnavailable("it is away")

    checks = readiness(slow=hang, broken=fail).json()["checks"]
    assert "no answer within" in checks["slow"]["reason"]
    assert checks["broken"]["reason"] == "it is away"
