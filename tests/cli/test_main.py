import subprocess
import sys

import pytest

from forecast import __version__
from forecast.cli.main import VERBS


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "forecast.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_explains_itself(verb):
    told = run(verb, "--help")
    assert told.returncode == 0
    assert "usage:" in told.stdout


def test_it_lists_the_verbs_and_refuses_others():
    assert all(verb in run("--help").stdout for verb in VERBS)
    assert run("--version").stdout.strip() == __version__
    wrong = run("forecats")
    assert wrong.returncode == 2
    assert "forecast VERB" in wrong.stderr
