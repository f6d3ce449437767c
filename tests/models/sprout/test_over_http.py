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
