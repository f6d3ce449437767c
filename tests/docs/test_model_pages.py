"""The calls on each model's page, against a real gateway and a hub on loopback."""

import re
import shutil
from pathlib import Path

import pytest

from forecast.models import MODEL_REGISTRY
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.settings import Settings
from forecast.wiring.gateway import gateway_app
from tests.api.serving import KEY, running
from tests.docs.commands import commands_of, run
from tests.fakes.hub import FakeHub
from tests.fakes.timegpt import FakeTimeGPT

ROOT = Path(__file__).parents[2]
HERE = [model_id for model_id, spec in MODEL_REGISTRY.items() if spec.environment == "shared"]


def page_of(model_id: str) -> Path:
    return ROOT / MODEL_REGISTRY[model_id].info["documentation"]


def tiny_for(model_id: str, source: str) -> BaseTimeSeriesModel:
    """Make the variant that the name of a checkpoint speaks of, such as `chronos-2`."""
    spec = MODEL_REGISTRY[model_id]
    plain = source.replace("-", "")
    named = [variant for variant in spec.variants if variant in plain]
    return spec.model_class().tiny(*named[:1])


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("model_id", HERE)
def test_every_call_on_the_page_works_as_it_stands(model_id, tmp_path):
    commands = commands_of(page_of(model_id))
    assert "curl" in commands
    home = tmp_path / ".forecast"
    with FakeHub() as hub, FakeTimeGPT() as service:
        for repo in set(re.findall(r"hf:([\w.-]+/[\w.-]+)", commands)):
            weights = tmp_path / repo
            weights.mkdir(parents=True)
            tiny_for(model_id, repo)._save_model_weights(weights)
            hub.add(repo, weights)
        for name in set(re.findall(r"local:(?!//)([\w./-]+)", commands)):
            tiny_for(model_id, name).save_model(home / "models" / name)
        settings = Settings(
            home=home,
            api_key=KEY,
            inline=("all",),
            models=(model_id,),
            workers=int("/training" in commands),
            hf_endpoint=hub.endpoint,
            timegpt_api_key=service.key,
            timegpt_base_url=service.url,
        )
        with running(gateway_app(settings, {})) as url:
            printed = run(commands, url, tmp_path)
    assert '"predictions"' in printed
