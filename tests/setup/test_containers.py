"""The container files agree with the registry, and with Docker's own reading of them."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from forecast.models import MODEL_REGISTRY, get_available_models

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]


def has_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return asked.returncode == 0


def environment_file() -> dict[str, str]:
    lines = (ROOT / "compose.models.env").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value.strip("'") for name, _, value in pairs}


def test_there_is_the_gateway_and_one_service_for_each_model():
    assert set(SERVICES) == {"gateway", "worker", *get_available_models()}
    assert "profiles" not in SERVICES["gateway"]
    assert all(SERVICES[model_id]["profiles"] == ["models"] for model_id in get_available_models())
    assert SERVICES["worker"]["profiles"] == ["workers"]
    assert SERVICES["worker"]["image"] == SERVICES["gateway"]["image"]
    assert SERVICES["worker"]["volumes"] == SERVICES["gateway"]["volumes"]


@pytest.mark.parametrize("model_id", get_available_models())
def test_a_models_service_is_built_for_it_and_found_by_the_gateway(model_id):
    arguments = SERVICES[model_id]["build"]["args"]
    port = MODEL_REGISTRY[model_id].default_port
    assert (arguments["MODEL_NAME"], arguments["MODEL_PORT"]) == (model_id, port)
    hosts = json.loads(environment_file()["FORECAST_HOSTS"])
    assert hosts[model_id] == f"http://{model_id}:{port}"
    assert set(hosts) == set(get_available_models())


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_runs_with_as_few_rights_as_it_can(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(not port.startswith("0.0.0.0") for port in service.get("ports", ()))


def test_the_image_runs_as_nobody_special_and_holds_no_secret():
    text = (ROOT / "Dockerfile.forecast").read_text()
    assert re.search(r"^USER forecast$", text, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK", text, re.MULTILINE)
    assert re.search(r'^CMD \["python", "-m", "forecast.main"\]$', text, re.MULTILINE)
    assert not re.search(r"(API_KEY|TOKEN|PASSWORD)\s*=", text)


def test_whatever_the_image_copies_is_sent_to_the_builder():
    image = (ROOT / "Dockerfile.forecast").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", image, re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    assert {name for names in copied for name in names.split()} <= sent


@pytest.mark.skipif(not has_compose(), reason="docker compose is not installed")
@pytest.mark.parametrize("profile", ["", "models"])
def test_compose_reads_its_file(profile):
    options = ["--env-file", "compose.models.env"] if profile else []
    result = subprocess.run(
        ["docker", "compose", *options, "config", "--format", "json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    services = json.loads(result.stdout)["services"]
    expected = {"gateway", *(get_available_models() if profile else ())}
    assert set(services) == expected
    hosts = services["gateway"]["environment"]["FORECAST_HOSTS"]
    assert (set(json.loads(hosts)) if hosts else set()) == expected - {"gateway"}
