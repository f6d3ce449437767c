"""The calls of docs/http-guide.md, run in their order by a shell against a real gateway."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from forecast.settings import Settings
from forecast.wiring import gateway_app
from tests.api.serving import KEY, running

GUIDE = Path(__file__).parents[2] / "docs" / "http-guide.md"
# A call that fails ends the script, and its answer shows.
STRICT = 'set -eu\ncurl() { command curl -sS --fail-with-body "$@"; echo; }\n'


def commands() -> str:
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE))


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_every_call_of_the_guide_works_as_it_stands(tmp_path):
    settings = Settings(home=tmp_path / ".forecast", api_key=KEY, inline=("all",))
    with running(gateway_app(settings, {})) as url:
        result = subprocess.run(
            ["bash", "-c", STRICT + commands()],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "FORECAST_URL": url, "FORECAST_KEY": KEY},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    assert "x-forecast-skipped: chronos;model_not_ready" in result.stdout.lower()
    assert "actual_future" in result.stdout
    assert result.stdout.count("\n") > commands().count("curl")
