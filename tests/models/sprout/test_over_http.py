"""From a fresh start to a forecast: no initialization, no store, no network, any date."""

import os
import time

import numpy as np
import pytest

from forecast.models.sprout.model import SproutModel
from forecast.models.sprout.spec import SPEC
from forecast.settings import Settings
from forecast.wiring.gateway import gateway_app
from tests.api.serving import KEY, caller, running

SPROUT = "/forecast/v1/sprout"
PATIENCE_S = 120.0


def wait_until_ready(client):
    """Wait for the children of a gateway that just started; nobody asked them to load."""
    give_up = time.monotonic() + PATIENCE_S
    while client.get(f"{SPROUT}/status").json()["model_status"] != "ready":
        assert time.monotonic() < give_up
        time.sleep(0.05)


@pytest.mark.parametrize("inline", [(), ("sprout",)], ids=["child", "inline"])
def test_a_fresh_gateway_forecasts_as_of_any_day_and_names_the_weights(tmp_path, inline):
    settings = Settings(home=tmp_path, api_key=KEY, models=("sprout",), inline=inline, workers=0)
    past = [round(10 + 5 * np.sin(2 * np.pi * step / 7), 3) for step in range(70)]
    body = {
        "inputs": [{"target": past[:50], "start": "2001-01-01", "freq": "D"}],
        "parameters": {"horizon": 3, "as_of": "2001-02-19", "strict": True},
    }
    with (
        running(gateway_app(settings, os.environ)) as url,
        caller(url) as client,
    ):
        wait_until_ready(client)
        answer = client.post(f"{SPROUT}/inference", json=body)
        assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["model"]["source"] == "package:sprout"
    assert len(document["model"]["sha256"]) == 64
    mean = document["predictions"][0]["mean"]
    np.testing.assert_allclose(mean, past[50:53], atol=0.2)  # the 20th of February is the 51st day


def test_its_entry_says_what_it_is():
    assert SPEC.is_ready_at_once
    assert SPEC.info["sources"] == ["package:sprout"]


def test_weights_from_elsewhere_are_not_taken_to_have_seen_nothing(tmp_path):
    SproutModel.tiny().save_model(tmp_path / "models" / "mine")
    chosen = {"models": ("sprout",), "inline": ("sprout",), "workers": 0}
    settings = Settings(home=tmp_path, api_key=KEY, **chosen)
    body = {
        "inputs": [{"target": [1.0, 2.0, 4.0], "start": "2001-01-01", "freq": "D"}],
        "parameters": {"horizon": 3, "as_of": "2001-01-03"},
    }
    with (
        running(gateway_app(settings, os.environ)) as url,
        caller(url) as client,
    ):
        wait_until_ready(client)
        ready = client.post(f"{SPROUT}/initialization", json={"source": "local:mine"})
        assert ready.status_code == 200, ready.text
        refused = client.post(f"{SPROUT}/inference", json=body)
        back = client.post(f"{SPROUT}/initialization", json={"source": "package:sprout"})
        answered = client.post(f"{SPROUT}/inference", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "looks_ahead")
    assert back.status_code == answered.status_code == 200


def weekly(item_id: str, seed: int, weeks: int) -> dict[str, object]:
    """Simulate weekly sales with a quarter of 13 weeks, from 2019 on."""
    rng = np.random.default_rng(seed)
    quarters = rng.uniform(1, 3) * np.sin(2 * np.pi * np.arange(weeks) / 13)
    target = 20 + quarters + rng.standard_normal(weeks)
    return {
        "item_id": item_id,
        "target": target.round(3).tolist(),
        "start": "2019-01-04",
        "freq": "W-FRI",
    }


def finished(client, started):
    assert started.status_code == 202, started.text
    give_up = time.monotonic() + 3 * PATIENCE_S
    while True:
        job = client.get(f"/forecast/v1/jobs/{started.json()['id']}").json()
        if job["state"] in ("succeeded", "failed", "cancelled"):
            assert job["state"] == "succeeded", job
            return job
        assert time.monotonic() < give_up, job
        time.sleep(0.1)


@pytest.mark.timeout(900)  # processes that import torch and peft
def test_snapshots_of_a_fine_tuned_one_forecast_from_the_first_year_on(tmp_path):
    """The weights that it starts from saw no real series, so a snapshot saw its own data alone."""
    pytest.importorskip("peft", reason="needs the networks and lora extras")
    inputs = [weekly(name, seed, 80) for seed, name in enumerate("abc")]
    config = {"horizon": 4, "context_length": 48, "max_steps": 8, "batch_size": 16}
    training = {
        "inputs": inputs,
        "config": config,
        "lora": {"rank": 4},
        "snapshots": {"yearly": True, "bootstrap_years": 1},
        "refit": False,
    }
    settings = Settings(
        home=tmp_path, api_key=KEY, models=("sprout",), inline=("sprout",), training_threads=1
    )

    def asked(as_of):
        parameters = {"horizon": 4, "quantile_levels": [0.1, 0.9], "as_of": as_of, "strict": True}
        body = {"inputs": inputs, "parameters": parameters}
        return client.post(f"{SPROUT}/inference", json=body)

    with (
        running(gateway_app(settings, os.environ)) as url,
        caller(url) as client,
    ):
        wait_until_ready(client)
        before = asked("2019-06-01").json()["model"]
        job = finished(client, client.post(f"{SPROUT}/training", json=training))
        answer = asked("2020-01-01")
        give_up = time.monotonic() + PATIENCE_S
        while client.get(f"{SPROUT}/status").json().get("version") != job["version"]:
            assert time.monotonic() < give_up
            time.sleep(0.1)  # the host looks for what was promoted every two seconds
        now = client.post(f"{SPROUT}/inference", json={"inputs": inputs}).json()
        version = client.get(f"{SPROUT}/versions/snapshot_2019-12-31").json()
    assert before["source"] == "package:sprout"
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"]["version"] == "snapshot_2019-12-31"
    assert answer.json()["predictions"][0]["intervals"] == "conformal"
    assert now["model"]["version"] == job["version"]
    assert version["provenance"]["seen_until"].startswith("2019-12")
    assert [root["source"] for root in version["provenance"]["roots"]] == ["package:sprout"]
