"""The calls of docs/http-guide.md, run in their order against a real gateway."""

import os
import shutil
import time
from pathlib import Path

import httpx2
import pytest

from forecast.settings import Settings
from forecast.wiring.gateway import gateway_app
from tests.api.serving import KEY, running
from tests.docs.commands import commands_of, run

PATIENCE_S = 90
GUIDE = Path(__file__).parents[2] / "docs" / "http-guide.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_every_call_of_the_guide_works_as_it_stands(tmp_path):
    commands = commands_of(GUIDE)
    settings = Settings(home=tmp_path / ".forecast", api_key=KEY, inline=("all",))
    with running(gateway_app(settings, os.environ)) as url:
        until_ready(url)
        printed = run(commands, url, tmp_path)
    assert "x-forecast-skipped: chronos;model_not_ready" in printed.lower()
    assert "actual_future" in printed
    assert "event: done" in printed
    assert '"how":"remove"' in printed
    assert printed.count("\n") > commands.count("curl")


def until_ready(url: str) -> None:
    """Wait for the worker that the gateway starts."""
    give_up = time.monotonic() + PATIENCE_S
    while (answer := httpx2.get(f"{url}/health/ready", timeout=60)).status_code != 200:
        assert time.monotonic() < give_up, answer.text
        time.sleep(0.2)
