"""`./setup.sh demo` compares every model that needs no download, and draws it."""

import subprocess
import sys
from pathlib import Path

from forecast.settings import Settings
from forecast.wiring import gateway_app
from tests.api.serving import KEY, running

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


def test_the_demo_compares_each_model_that_is_ready_at_once(tmp_path):
    chart = tmp_path / "demo.png"
    settings = Settings(home=tmp_path / ".forecast", api_key=KEY, inline=("all",))
    with running(gateway_app(settings, {})) as url:
        printed = subprocess.run(
            [sys.executable, DEMO, "--url", url, "--key", KEY, "--chart", chart],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    rows = {line.split()[0] for line in printed.splitlines() if "%" in line}
    assert {"auto", "auto_arima", "seasonal_naive", "prophet", "sprout"} < rows
    assert "chronos" not in printed
    assert chart.read_bytes().startswith(b"\x89PNG")
