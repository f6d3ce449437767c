"""From the operator's variable to the service: through the gateway, a child host and a job."""

import os
import time
from contextlib import contextmanager

import pytest

from forecast.settings import read_settings
from forecast.wiring.gateway import gateway_app
from tests.api.serving import KEY, caller, running
from tests.fakes.timegpt import TUNED_SHIFT

pytest.importorskip("nixtla", reason="the client of TimeGPT is not installed")

PATIENCE_S = 120.0
TIMEGPT = "/forecast/v1/timegpt"
BODY = {
    "inputs": [{"target": [float(step % 7) for step in range(28)], "start": "2026-01-01",
                "freq": "D"}],
    "parameters": {"horizon": 3, "quantile_levels": []},
}  # fmt: skip


@contextmanager
def gateway(home, monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = read_settings(home=home, api_key=KEY, models=("timegpt",), training_threads=1)
    with (
        running(gateway_app(settings, os.environ)) as url,
        caller(url) as client,
    ):
        yield client


def mean_of(client) -> list[float]:
    answer = client.post(f"{TIMEGPT}/inference", json=BODY)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][0]["mean"]


def test_a_child_host_and_a_training_have_the_key_and_no_file_or_answer_does(
    service, tmp_path, monkeypatch
):
    given = {"NIXTLA_API_KEY": service.key, "NIXTLA_BASE_URL": service.url}
    with gateway(tmp_path, monkeypatch, **given) as client:
        assert client.get(f"{TIMEGPT}/status").json()["model_status"] == "uninitialized"
        assert client.post(f"{TIMEGPT}/inference", json=BODY).status_code == 409
        ready = client.post(f"{TIMEGPT}/initialization", json={})
        assert ready.status_code == 200, ready.text
        assert service.key not in ready.text
        before = mean_of(client)

        job = client.post(f"{TIMEGPT}/training", json={"inputs": BODY["inputs"]}).json()
        give_up = time.monotonic() + PATIENCE_S
        while job["state"] in ("pending", "running"):
            assert time.monotonic() < give_up
            time.sleep(0.05)
            job = client.get(f"/forecast/v1/jobs/{job['id']}").json()
        assert job["state"] == "succeeded", job
        tuned = client.post(f"{TIMEGPT}/initialization", json={"source": job["source"]})
        assert tuned.status_code == 200, tuned.text
        assert mean_of(client) == [value + TUNED_SHIFT for value in before]
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files
    assert not any(service.key.encode() in file.read_bytes() for file in files)


def test_without_a_key_it_says_what_to_set(tmp_path, monkeypatch):
    monkeypatch.delenv("NIXTLA_API_KEY", raising=False)
    monkeypatch.setenv("FORECAST_INLINE", "all")
    monkeypatch.setenv("FORECAST_WORKERS", "0")
    with gateway(tmp_path, monkeypatch) as client:
        refused = client.post(f"{TIMEGPT}/initialization", json={})
        assert (refused.status_code, refused.json()["code"]) == (409, "model_not_ready")
        status = client.get(f"{TIMEGPT}/status").json()
    for told in (refused.json()["detail"], status["details"]):
        assert "NIXTLA_API_KEY" in told
