"""Building the gateway loads no model library: it starts fast and stays small."""

import os
import subprocess
import sys

HEAVY = (
    "torch",
    "transformers",
    "statsforecast",
    "prophet",
    "chronos",
    "timesfm",
    "mlflow",
    "nixtla",
    "matplotlib",
    "sklearn",
)
BUILD = """
import sys
from forecast.main import create
from forecast.settings import Settings
app = create(Settings(home={home!r}, api_key="a-key-of-the-test"))
assert app.openapi()["paths"]
print(*sorted(set({heavy!r}) & set(sys.modules)))
"""


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_building_the_gateway_and_its_document_imports_no_model_library(tmp_path):
    result = run(BUILD.format(home=str(tmp_path), heavy=HEAVY))
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_importing_the_composition_root_builds_nothing(tmp_path):
    code = (
        "import sys, forecast.main as m; print('app' in vars(m), 'forecast.wiring' in sys.modules)"
    )
    result = run(code, FORECAST_HOME=str(tmp_path / "home"))
    assert result.stdout.split() == ["False", "False"], result.stderr
    assert not (tmp_path / "home").exists()
