import json
import subprocess
import sys

import pytest

from forecast import __version__
from forecast.cli.main import VERBS
from forecast.models import MODEL_REGISTRY, get_available_models


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


def test_the_compose_file_has_a_container_for_each_model_that_the_gateway_finds():
    services = json.loads(run("compose").stdout)["services"]
    assert set(services) == {"gateway", *get_available_models()}
    hosts = json.loads(services["gateway"]["environment"]["FORECAST_HOSTS"])
    for model_id in get_available_models():
        port = services[model_id]["build"]["args"]["MODEL_PORT"]
        assert hosts[model_id] == f"http://{model_id}:{port}"
        assert port == MODEL_REGISTRY[model_id].default_port
