"""`forecast compose`: the services of one container per model, for Docker Compose."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from forecast.models import MODEL_REGISTRY, get_available_models
from forecast.models.spec import ModelSpec


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the file; Compose reads JSON as the YAML that it is."""
    parser = argparse.ArgumentParser(
        prog="forecast compose",
        description="Print a Compose file with one container per model, for use beside"
        " docker-compose.yml, whose first lines show the commands.",
    )
    parser.parse_args(arguments)
    specs = [MODEL_REGISTRY[model_id] for model_id in get_available_models()]
    sys.stdout.write(json.dumps(compose_file(specs), indent=2) + "\n")


def compose_file(specs: Sequence[ModelSpec]) -> dict[str, Any]:
    """Describe a container for each model, and tell the gateway where they are."""
    hosts = {spec.model_id: f"http://{spec.model_id}:{spec.default_port}" for spec in specs}
    gateway = {"environment": {"FORECAST_HOSTS": json.dumps(hosts)}}
    return {"services": {"gateway": gateway} | {spec.model_id: service_of(spec) for spec in specs}}


def service_of(spec: ModelSpec) -> dict[str, Any]:
    """Extend the service `model` of docker-compose.yml to the container of one model."""
    arguments = {
        "MODEL_NAME": spec.model_id,
        "MODEL_PORT": spec.default_port,
        "TORCH_INDEX": "${TORCH_INDEX:-}",
    }
    return {
        "extends": {"file": "docker-compose.yml", "service": "model"},
        "profiles": ["models"],
        "image": f"forecast-{spec.model_id}",
        "build": {"context": ".", "dockerfile": "Dockerfile.forecast", "args": arguments},
        "environment": {"FORECAST_PORT": str(spec.default_port)},
    }
