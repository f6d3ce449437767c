"""The calls of docs/http-guide.md, run in their order against a real gateway."""

import shutil
from pathlib import Path

import pytest

from forecast.settings import Settings
from forecast.wiring import gateway_app
from tests.api.serving import KEY, running
from tests.docs.commands import commands_of, run

GUIDE = Path(__file__).parents[2] / "docs" / "http-guide.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_every_call_of_the_guide_works_as_it_stands(tmp_path):
    commands = commands_of(GUIDE)
    settings = Settings(home=tmp_path / ".forecast", api_key=KEY, inline=("all",))
    with running(gateway_app(settings, {})) as url:
        printed = run(commands, url, tmp_path)
    assert "x-forecast-skipped: chronos;model_not_ready" in printed.lower()
    assert "actual_future" in printed
    assert printed.count("\n") > commands.count("curl")
