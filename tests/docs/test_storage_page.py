"""The page on the store: its Python, then its calls and commands, run in their order."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from forecast.settings import Settings
from forecast.store.config import StoreConfig
from forecast.wiring.gateway import gateway_app
from tests.api.serving import KEY, running
from tests.docs.commands import commands_of, run
from tests.fakes.hub import FakeHub
from tests.fakes.published import shelf_in

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "storage.md"
TEXT = PAGE.read_text()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_page_does_what_it_says(tmp_path):
    (script,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['v1.1', 'v1.0']", "v1.1", "v1.0"]

    settings = Settings(
        home=tmp_path / ".forecast", api_key=KEY, inline=("all",), models=("lstm",), workers=0
    )
    with FakeHub(token="hf_of_the_page") as hub:
        (tmp_path / "hub-token").write_text(hub.token)
        here = f"export HF_ENDPOINT={hub.endpoint} PYTHONPATH={ROOT}\n"
        here += f'forecast() {{ "{sys.executable}" -m forecast.cli.main "$@"; }}\n'
        with running(gateway_app(settings, {})) as url:
            printed = run(here + commands_of(PAGE), url, tmp_path)
        assert {"v1.0", "v1.1", "main"} == set(hub.repositories["my-organization/lstm"].refs)
    synced = [
        json.loads(part) for part in re.findall(r"^\{$.*?^\}$", printed, re.DOTALL | re.MULTILINE)
    ]
    assert synced[0]["lstm"]["upload"]["uploaded"] == ["v1.0", "v1.1"]
    assert synced[1]["lstm"]["download"]["skipped"] == ["v1.0", "v1.1"]
    assert shelf_in(tmp_path / ".forecast/models").aliases.all() == {
        "champion": "v1.0",
        "current": "v1.0",
    }


def test_the_table_names_every_setting_with_its_default():
    section = TEXT.partition("## Settings of the store\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]+?) \|", section, re.MULTILINE)
    told = {name: default for names, default in rows for name in re.findall(r"\w+", names)}
    assert told.keys() == StoreConfig.model_fields.keys()
    for name, default in told.items():
        value = StoreConfig.model_fields[name].default
        if isinstance(value, bool | int) or value is None:
            assert default.strip("`") == {None: "null", True: "true", False: "false"}.get(
                value, str(value)
            )


def test_the_yaml_of_the_page_is_one_that_is_read(tmp_path):
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    (tmp_path / "store.yaml").write_text(text)
    config = StoreConfig.read(tmp_path / "store.yaml", root=tmp_path)
    assert (config.max_versions, config.keep_best_by) == (20, "validation_loss")
