"""Trainings over real HTTP: a gateway, its jobs, and their processes."""

import json
import time
from contextlib import contextmanager

import httpx2
import numpy as np
import pytest

from forecast.settings import Settings
from forecast.wiring.gateway import gateway_app
from tests.api.serving import KEY, caller, running

pytest.importorskip("torch", reason="needs the networks extra")

PATIENCE_S = 120.0
TRAINING = "/forecast/v1/lstm/training"
JOBS = "/forecast/v1/jobs"
OVER = ("succeeded", "failed", "cancelled")
SMALL = {
    "device": "cpu",
    "context_length": 12,
    "horizon": 4,
    "segment_length": 4,
    "hidden_dim": 8,
    "max_epochs": 2,
    "seed": 3,
}
ENDLESS = SMALL | {"max_epochs": 100_000, "early_stopping": None}


def wave(steps: int = 120) -> dict[str, object]:
    target = (10 + np.sin(np.arange(steps) * 2 * np.pi / 12)).round(4).tolist()
    return {"item_id": "wave", "target": target, "start": "2026-01-01", "freq": "D"}


def body(**changes: object) -> dict[str, object]:
    return {"inputs": [wave()], "config": SMALL, "validation": {"horizons": 2}} | changes


@contextmanager
def gateway(home, **settings):
    import os

    chosen = {"models": ("lstm",), "inline": ("all",), "training_threads": 1, "access_log": False}
    app = gateway_app(Settings(home=home, api_key=KEY, **(chosen | settings)), os.environ)
    with running(app) as url, caller(url) as client:
        yield client


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(home):
    with gateway(home) as client:
        yield client


def until(client, job_id: str, condition) -> dict[str, object]:
    give_up = time.monotonic() + PATIENCE_S
    while True:
        job = client.get(f"{JOBS}/{job_id}").json()
        if condition(job):
            return job
        assert job["state"] not in OVER, job
        assert time.monotonic() < give_up, job
        time.sleep(0.05)


def is_over(job) -> bool:
    return job["state"] in OVER


def test_a_model_is_trained_watched_loaded_and_forecasts(client, home):
    started = client.post(TRAINING, json=body(data_reference="a sine"))
    assert started.status_code == 202, started.text
    job = started.json()
    assert started.headers["Location"] == f"{JOBS}/{job['id']}"
    assert (job["model_id"], job["kind"]) == ("lstm", "training")
    assert client.get(f"{JOBS}/{job['id']}/result").status_code in (404, 200)

    done = until(client, job["id"], is_over)
    assert done["state"] == "succeeded", done
    assert done["metrics"]["validation_loss"] > 0
    assert done["source"] == f"store:{done['version']}"
    assert client.get(JOBS).json()["jobs"][0]["id"] == job["id"]

    result = client.get(f"{JOBS}/{job['id']}/result").json()
    assert result["version"] == done["version"]
    (version,) = client.get("/forecast/v1/lstm/versions").json()["versions"]
    assert (version["name"], version["aliases"]) == (done["version"], ["current"])
    check_stored(home / "models/lstm/versions" / done["version"])

    loaded = client.post("/forecast/v1/lstm/initialization", json={"backend": "cpu"})
    assert loaded.status_code == 200, loaded.text
    answer = client.post(
        "/forecast/v1/lstm/inference", json={"inputs": [wave()], "parameters": {"horizon": 4}}
    ).json()
    assert answer["model"]["version"] == done["version"]
    assert answer["model"]["cutoff"].startswith("2026-04-30")
    assert len(answer["predictions"][0]["mean"]) == 4

    tuned = body(source=done["source"], mode="fine_tune")
    again = until(client, client.post(TRAINING, json=tuned).json()["id"], is_over)
    assert again["state"] == "succeeded"
    assert again["version"] != done["version"]


def check_stored(folder) -> None:
    record = json.loads((folder / "training_metadata.json").read_text())
    assert record["data_reference"] == "a sine"
    assert record["cutoff"].startswith("2026-04-30")
    saved = json.loads((folder / "config.json").read_text())
    assert saved["config"]["hidden_dim"] == SMALL["hidden_dim"]


def test_a_running_training_is_cancelled_and_leaves_nothing(client, home):
    job_id = client.post(TRAINING, json=body(config=ENDLESS)).json()["id"]
    until(client, job_id, lambda job: job["progress"])
    waiting = client.post(TRAINING, json=body(config=ENDLESS)).json()
    assert waiting["state"] == "pending"
    assert client.post(f"{JOBS}/{waiting['id']}/cancel").json()["state"] == "cancelled"

    asked = client.post(f"{JOBS}/{job_id}/cancel")
    assert asked.status_code == 200
    assert asked.json()["state"] in ("cancelling", "cancelled")
    assert until(client, job_id, is_over)["state"] == "cancelled"
    assert client.post(f"{JOBS}/{job_id}/cancel").json()["state"] == "cancelled"
    refused = client.get(f"{JOBS}/{job_id}/result")
    assert refused.status_code == 404
    assert "cancelled" in refused.json()["detail"]
    assert not (home / "jobs" / job_id / "work").exists()


@pytest.mark.parametrize(
    ("changes", "status", "pointer"),
    [
        ({"config": {"horizon": 0}}, 422, "/config/horizon"),
        ({"config": {"hiden_dim": 3}}, 422, "/config/hiden_dim"),
        ({"inputs": [{"target": [1, 2], "freq": "weekly", "start": "2026-01-01"}]}, 422,
         "/inputs/0/freq"),
        ({"validation": {"horizons": 1000}}, 422, "/validation/horizons"),
        ({"unheard_of": 1}, 422, "/unheard_of"),
        ({"inputs": [{"target": [None] * 20}]}, 400, None),
    ],
)  # fmt: skip
def test_a_bad_request_starts_nothing_and_points_at_the_field(client, changes, status, pointer):
    before = client.get(JOBS).json()["count"]
    refused = client.post(TRAINING, json=body(**changes))
    assert refused.status_code == status, refused.text
    pointers = [error["pointer"] for error in refused.json()["errors"]]
    assert pointers == ([pointer] if pointer else [])
    assert client.get(JOBS).json()["count"] == before


def test_what_is_not_json_is_refused(client):
    refused = client.post(TRAINING, content=b"a,b\n1,2\n", headers={"Content-Type": "text/csv"})
    assert refused.json()["code"] == "unsupported_format"


def test_what_fails_in_the_process_is_told_with_its_code(client):
    config = SMALL | {"context_length": 12, "horizon": 4, "known_ahead": ["promo"]}
    job_id = client.post(TRAINING, json=body(config=config)).json()["id"]
    failed = until(client, job_id, is_over)
    assert (failed["state"], failed["error"]["code"]) == ("failed", "invalid_request")
    assert "promo" in failed["error"]["detail"]


def test_weights_that_are_not_there_fail_the_job(client):
    asked = body(source="local:nowhere", config=SMALL | {"training_mode": "fine_tune"})
    failed = until(client, client.post(TRAINING, json=asked).json()["id"], is_over)
    assert (failed["state"], failed["error"]["code"]) == ("failed", "file_missing")


@pytest.mark.parametrize("path", ["", "/cancel", "/result"])
def test_a_job_that_is_not_there_is_not_found(client, path):
    method = "POST" if path == "/cancel" else "GET"
    assert client.request(method, f"{JOBS}/tr_none{path}").json()["code"] == "not_found"


def test_jobs_need_a_key(client):
    assert (
        httpx2.get(f"{client.base_url}{JOBS}".replace("//f", "/f"), timeout=60).status_code == 401
    )


def test_after_a_restart_what_was_under_way_goes_on(tmp_path):
    with gateway(tmp_path) as client:
        job_id = client.post(TRAINING, json=body(config=ENDLESS)).json()["id"]
        until(client, job_id, lambda job: job["progress"] and job["progress"]["step"])
    with gateway(tmp_path) as client:
        assert client.get(JOBS).json()["count"] == 1
        until(client, job_id, lambda job: job["state"] == "running" and job["attempts"] == 2)
        assert client.post(f"{JOBS}/{job_id}/cancel").status_code == 200
        assert until(client, job_id, is_over)["state"] == "cancelled"
