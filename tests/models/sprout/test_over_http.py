"""From a fresh start to a forecast: no initialization, no store, no network, any date."""

import os

import httpx2
import numpy as np
import pytest

from forecast.models.sprout.spec import SPEC
from forecast.settings import Settings
from forecast.wiring import gateway_app
from tests.api.serving import AUTH, KEY, running

SPROUT = "/forecast/v1/sprout"


@pytest.mark.parametrize("inline", [(), ("sprout",)], ids=["child", "inline"])
def test_a_fresh_gateway_forecasts_as_of_any_day_and_names_the_weights(tmp_path, inline):
    settings = Settings(home=tmp_path, api_key=KEY, models=("sprout",), inline=inline)
    past = [round(10 + 5 * np.sin(2 * np.pi * step / 7), 3) for step in range(70)]
    body = {
        "inputs": [{"target": past[:50], "start": "2001-01-01", "freq": "D"}],
        "parameters": {"horizon": 3, "as_of": "2001-02-19", "strict": True},
    }
    with (
        running(gateway_app(settings, os.environ)) as url,
        httpx2.Client(base_url=url, headers=AUTH, timeout=60) as client,
    ):
        answer = client.post(f"{SPROUT}/inference", json=body)
        assert answer.status_code == 200, answer.text
        status = client.get(f"{SPROUT}/status").json()
    assert status["model_status"] == "ready"
    document = answer.json()
    assert document["model"]["source"] == "package:sprout"
    assert len(document["model"]["sha256"]) == 64
    mean = document["predictions"][0]["mean"]
    np.testing.assert_allclose(mean, past[50:53], atol=0.2)  # the 20th of February is the 51st day


def test_its_entry_says_what_it_is():
    assert SPEC.is_ready_at_once
    assert SPEC.info["sources"] == ["package:sprout"]
