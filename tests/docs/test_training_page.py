"""The page on training: its examples, run in their order in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from forecast.models.base.config import DistributedConfig, LoraConfig, NetworkConfig

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SCRIPTS = [block for block in BLOCKS if block.startswith("# train.py")]
EXAMPLES = [block for block in BLOCKS if block not in SCRIPTS]


def run(command: list[str], folder: Path) -> str:
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": here, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_examples_run_as_they_stand(tmp_path):
    pytest.importorskip("chronos")
    from forecast.models.chronos.tiny import write_tiny_bolt

    write_tiny_bolt(tmp_path / "chronos")
    before = {file.name: file.read_bytes() for file in (tmp_path / "chronos").iterdir()}
    printed = run([sys.executable, "-c", "\n".join(EXAMPLES)], tmp_path).splitlines()
    assert "(1, 12) (1, 3, 12)" in printed
    assert any("'mae'" in line and "'msis_80'" in line for line in printed)
    assert printed[-1].startswith("2026-01-16T09:59:59Z ")  # the end of the 370th hour
    assert {file.name: file.read_bytes() for file in (tmp_path / "chronos").iterdir()} == before
    for folder in ("store-1", "chronos-of-store-1"):
        found = sorted(file.name for file in (tmp_path / folder).iterdir())
        assert found == ["config.json", "training_metadata.json", "weights"]


def test_the_script_for_several_processes_runs_as_it_is_started(tmp_path):
    (script,) = SCRIPTS
    (command,) = re.findall(r"^torchrun .*train.py$", PAGE, re.MULTILINE)
    (tmp_path / "train.py").write_text(script)
    run(command.split(), tmp_path)
    assert (tmp_path / "learned-together" / "training_metadata.json").exists()


def test_every_option_is_in_a_table():
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert set(NetworkConfig.model_fields) <= named
    assert set(LoraConfig.model_fields) <= named
    assert set(DistributedConfig.model_fields) <= named


@pytest.mark.parametrize(
    ("heading", "config"), [("Options", NetworkConfig), ("Adapters (LoRA)", LoraConfig)]
)
def test_the_page_names_the_defaults_that_there_are(heading, config):
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]+?) \|", section, re.MULTILINE)
    told = dict(zip(names(rows), values(rows), strict=True))
    numbers = {name: value for name, value in told.items() if re.fullmatch(r"[\d.]+", value)}
    assert len(numbers) >= 3
    for name, value in numbers.items():
        assert float(value) == config.model_fields[name].default, name


def names(rows: list[tuple[str, str]]) -> list[str]:
    return [name for cells, _ in rows for name in re.findall(r"\w+", cells)]


def values(rows: list[tuple[str, str]]) -> list[str]:
    """The default of each name: its own where a row lists one a name, and the row's if not."""
    found = []
    for cells, defaults in rows:
        count = len(re.findall(r"\w+", cells))
        parts = defaults.split(", ")
        found += parts if len(parts) == count else [defaults] * count
    return found
