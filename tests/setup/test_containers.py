"""The container files agree with the registry, and with Docker's own reading of them."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from forecast.cli.compose import compose_file, service_of
from forecast.models import MODEL_REGISTRY

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]


def has_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return asked.returncode == 0


def test_there_is_the_gateway_and_a_worker_beside_it():
    assert set(SERVICES) == {"gateway", "worker"}
    assert "profiles" not in SERVICES["gateway"]
    assert SERVICES["worker"]["profiles"] == ["workers"]
    assert SERVICES["worker"]["image"] == SERVICES["gateway"]["image"]
    assert SERVICES["worker"]["volumes"] == SERVICES["gateway"]["volumes"]


def test_the_container_of_a_model_is_a_service_like_the_others_built_for_it():
    model = service_of(MODEL_REGISTRY["chronos"])
    assert model["build"]["args"] == {
        "MODEL_NAME": "chronos",
        "MODEL_PORT": MODEL_REGISTRY["chronos"].default_port,
        "TORCH_INDEX": "${TORCH_INDEX:-}",
    }
    assert model["environment"] == COMPOSE["x-environment"]
    shared = COMPOSE["x-service"]
    assert {name: model[name] for name in shared} == shared


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
def test_compose_reads_both_files(tmp_path):
    models = tmp_path / "compose.models.yml"
    models.write_text(json.dumps(compose_file([MODEL_REGISTRY["chronos"]])))
    files = ["-f", "docker-compose.yml", "-f", str(models)]
    result = subprocess.run(
        ["docker", "compose", *files, "config", "--format", "json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    services = json.loads(result.stdout)["services"]
    assert set(services) == {"gateway", "chronos"}
    hosts = json.loads(services["gateway"]["environment"]["FORECAST_HOSTS"])
    assert set(hosts) == {"chronos"}
