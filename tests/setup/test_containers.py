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


OURS = [name for name in SERVICES if name != "postgres"]


def test_there_is_the_gateway_and_what_a_profile_adds_to_it():
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert profiles == {
        "gateway": None,
        "worker": ["workers"],
        "model": ["template"],
        "postgres": ["postgres"],
    }
    assert SERVICES["worker"]["image"] == SERVICES["gateway"]["image"]


def test_the_container_of_a_model_extends_the_one_definition_and_adds_what_is_its_own():
    port = MODEL_REGISTRY["chronos"].default_port
    assert service_of(MODEL_REGISTRY["chronos"]) == {
        "extends": {"file": "docker-compose.yml", "service": "model"},
        "profiles": ["models"],
        "image": "forecast-chronos",
        "build": {
            "context": ".",
            "dockerfile": "Dockerfile.forecast",
            "args": {
                "MODEL_NAME": "chronos",
                "MODEL_PORT": port,
                "TORCH_INDEX": "${TORCH_INDEX:-}",
            },
        },
        "environment": {"FORECAST_PORT": str(port)},
    }


@pytest.mark.parametrize("name", OURS)
def test_every_setting_reaches_every_container(name):
    """All of .env is passed on, but for where a container listens and keeps its files."""
    service = SERVICES[name]
    assert service["env_file"] == [{"path": ".env", "required": False}]
    fixed = {"FORECAST_ADDRESS", "FORECAST_HOME", "FORECAST_PORT", "FORECAST_API_KEY"}
    assert set(service["environment"]) <= fixed
    assert service["volumes"] == ["forecast-home:/var/lib/forecast"]
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_limits(name):
    assert {"mem_limit", "cpus", "pids_limit", "logging"} <= set(SERVICES[name])


def test_postgresql_is_started_before_those_who_use_it():
    for name in ("gateway", "worker"):
        waits = SERVICES[name]["depends_on"]["postgres"]
        assert waits == {"condition": "service_healthy", "required": False}
    assert "healthcheck" in SERVICES["postgres"]


def test_the_lock_holds_a_hash_of_all_that_the_images_install():
    image = (ROOT / "Dockerfile.forecast").read_text()
    assert image.count("scripts/install --hashes") == image.count("scripts/install -") == 2
    for file in [ROOT / "lock.txt", *(ROOT / "requirements").glob("*.txt")]:
        text = file.read_text()
        versions = re.findall(r"^\S+==\S+", text, re.MULTILINE)
        hashed = re.findall(r"^\S+==\S+ \\\n +--hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
        assert len(versions) == len(hashed) > 0


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_runs_with_as_few_rights_as_it_can(name):
    service = SERVICES[name]
    assert service.get("read_only", name == "postgres") is True
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
        ["docker", "compose", *files, "--profile", "models", "config", "--format", "json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    services = json.loads(result.stdout)["services"]
    assert set(services) == {"gateway", "chronos"}
    hosts = json.loads(services["gateway"]["environment"]["FORECAST_HOSTS"])
    assert set(hosts) == {"chronos"}
