"""The calls and scripts of the pages that a new user reads first, run as they stand."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from forecast.models import MODEL_REGISTRY
from forecast.settings import Settings
from forecast.wiring.gateway import gateway_app
from tests.api.serving import KEY, running
from tests.docs.commands import commands_of, run
from tests.fakes.hub import FakeHub

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "docs" / "getting-started.md",
    ROOT / "docs" / "data-formats.md",
]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    weights = folder / "weights"
    weights.mkdir()
    MODEL_REGISTRY["chronos"].model_class().tiny()._save_model_weights(weights)
    with FakeHub() as hub:
        hub.add("amazon/chronos-bolt-small", weights)
        settings = Settings(
            home=folder / ".forecast",
            api_key=KEY,
            inline=("all",),
            workers=0,
            hf_endpoint=hub.endpoint,
        )
        with running(gateway_app(settings, {})) as url:
            yield url


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_call_works_as_it_stands(page, gateway, tmp_path):
    commands = commands_of(page)
    assert run(commands, gateway, tmp_path).count('"predictions"') == commands.count("/inference")


def test_the_pandas_script_works_as_it_stands(gateway, tmp_path):
    (script,) = re.findall(
        r"^```python\n(.*?)^```$", PAGES[1].read_text(), re.DOTALL | re.MULTILINE
    )
    environment = {"FORECAST_URL": gateway, "FORECAST_KEY": KEY}
    printed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.splitlines()[0].split() == ["0.1", "0.9"]
    assert len(printed.splitlines()) == 8


OURS = ("*.md", "docs/**/*.md", "benchmarks/*.md", "forecast/**/*.md")


@pytest.mark.parametrize("pattern", OURS)
def test_every_link_within_the_project_leads_somewhere(pattern):
    for page in ROOT.glob(pattern):
        for target in LINK.findall(page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_first_page_lists_models_with_their_pages():
    listed = re.findall(r"^\| \[`(\w+)`\]\((\S+)\)", PAGES[0].read_text(), re.MULTILINE)
    assert len(listed) > 10
    for model_id, page in listed:
        assert page == MODEL_REGISTRY[model_id].info["documentation"]
