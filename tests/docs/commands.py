"""The commands of a page, run by a shell against a gateway of the test's own."""

import os
import re
import subprocess
from pathlib import Path

from tests.api.serving import KEY

# A call that fails ends the script, and its answer shows.
STRICT = 'set -eu\ncurl() { command curl -sS --fail-with-body "$@"; echo; }\n'


def commands_of(page: Path) -> str:
    """Join the `sh` blocks of a page, in their order."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return "\n".join(blocks)


def run(commands: str, url: str, folder: Path) -> str:
    """Run commands as a reader would, in a folder; give what they print.

    The address a page names is replaced by the test's, since a port may be taken.
    """
    here = re.sub(r"(http://)?(localhost|127\.0\.0\.1):8000", url, commands)
    result = subprocess.run(
        ["bash", "-c", STRICT + here],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "FORECAST_URL": url, "FORECAST_KEY": KEY},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    return result.stdout
