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


WORKER = """
import sys
from forecast.settings import Settings
from forecast.wiring.worker import worker_of
worker_of(Settings(home={home!r}), {{}})
print(*sorted(set({heavy!r}) & set(sys.modules)))
"""
BESIDES = ("aiohttp", "dbos", "huggingface_hub", "openpyxl", "psycopg", "sqlalchemy")
HOST = """
import sys
import numpy as np
from forecast.core.types import ForecastTask, Series
from forecast.models import MODEL_REGISTRY
from forecast.settings import Settings
from forecast.wiring.host import host_app
app = host_app(Settings(home={home!r}), "sprout", needs_key=False)
model = MODEL_REGISTRY["sprout"].model_class().tiny()
forecast, = model.predict([Series(np.sin(np.arange(90.0))[None])], ForecastTask(3))
assert np.isfinite(forecast.mean).all()
print(*sorted(set({heavy!r}) & set(sys.modules)))
"""


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
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


def test_a_host_of_sprout_imports_nothing_that_it_does_not_forecast_with(tmp_path):
    heavy = (*HEAVY, *BESIDES, "scipy", "statsmodels")
    result = run(HOST.format(home=str(tmp_path), heavy=heavy))
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_a_worker_imports_neither_a_web_framework_nor_what_its_jobs_compute_with(tmp_path):
    heavy = (*HEAVY, "aiohttp", "fastapi", "huggingface_hub", "scipy", "uvicorn")
    result = run(WORKER.format(home=str(tmp_path), heavy=heavy))
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []
