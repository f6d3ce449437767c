"""`./setup.sh demo` compares every model that needs no download, and draws it."""

import subprocess
import sys
from pathlib import Path

import httpx2

from forecast.models import MODEL_REGISTRY
from forecast.settings import Settings
from forecast.wiring.gateway import gateway_app
from tests.api.serving import KEY, running

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


def test_the_demo_compares_each_model_that_needs_no_training_and_no_download(tmp_path):
    chart, home = tmp_path / "demo.png", tmp_path / ".forecast"
    settings = Settings(home=home, api_key=KEY, inline=("all",), workers=0)
    MODEL_REGISTRY["lstm"].model_class().tiny().save_model(home / "models" / "trained")
    with running(gateway_app(settings, {})) as url:
        loaded = httpx2.post(
            f"{url}/forecast/v1/lstm/initialization",
            headers={"X-API-Key": KEY},
            json={"source": "local:trained"},
            timeout=60,
        )
        assert loaded.json()["model_status"] == "ready", loaded.text
        printed = subprocess.run(
            [sys.executable, DEMO, "--url", url, "--key", KEY, "--chart", chart],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    rows = {line.split()[0] for line in printed.splitlines() if "%" in line}
    assert {"auto", "auto_arima", "seasonal_naive", "prophet", "sprout"} < rows
    assert not {"chronos", "lstm"} & rows
    assert chart.read_bytes().startswith(b"\x89PNG")
