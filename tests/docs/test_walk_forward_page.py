"""The page on walk-forward: its blocks, run in their order against a gateway with its worker."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.api.serving import KEY
from tests.docs.commands import STRICT
from tests.test_main import running

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "walk-forward.md").read_text()
BLOCKS = re.findall(r"^```(python|sh)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def run(kind: str, block: str, folder: Path, url: str) -> str:
    command = [sys.executable, "-c", block] if kind == "python" else ["bash", "-c", STRICT + block]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "FORECAST_URL": url,
        "FORECAST_KEY": KEY,
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return done.stdout


@contextmanager
def working(settings: dict[str, str]) -> Iterator[None]:
    """Run a worker, whose log shows where a test fails."""
    command = [sys.executable, "-m", "forecast.worker", "--exit-with-parent"]
    environment = {"PATH": os.environ["PATH"], **settings}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE) as process:
        try:
            yield
        finally:
            process.terminate()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_blocks_work_as_they_stand(tmp_path):
    pytest.importorskip("torch", reason="needs the networks extra")
    settings = {
        "FORECAST_HOME": str(tmp_path / ".forecast"),
        "FORECAST_API_KEY": KEY,
        "FORECAST_MODELS": "lstm",
        "FORECAST_PORT": "0",
        "FORECAST_TRAINING_THREADS": "1",
        "FORECAST_WORKERS": "0",
    }
    with running("forecast.main", **settings) as process, working(settings):
        url = process.url()
        printed = [run(kind, block, tmp_path, url) for kind, block in BLOCKS]
    _, trained, features, tested = printed
    for year in (2020, 2021, 2022):
        assert f'"snapshot_{year}-12-31"' in trained
    assert '"state":"succeeded"' in trained.replace(": ", ":")
    assert "(209, 2)" in features
    assert re.search(r"momentum +200\n", features)
    assert re.search(r"snapshot +snapshot_2020-12-31 +106\n +snapshot_2021-12-31 +104\n", features)
    assert '"per_window"' in tested
    assert (tmp_path / "forecasts.parquet").read_bytes()[:4] == b"PAR1"


def test_every_option_and_default_is_in_the_table():
    from dataclasses import MISSING, fields

    from forecast.training.walk_forward import WalkForward

    for one in fields(WalkForward):
        assert f"`{one.name}`" in PAGE
        if isinstance(one.default, int) and one.default is not MISSING:
            assert re.search(rf"`{one.name}` \| {one.default} \|", PAGE), one.name
