"""The page on adding a model, followed to the letter in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-model.md").read_text()
BLOCK = r"^(`{3,4})(?:python|markdown)\n# (\S+\.\w+)\n(.*?)^\1$"
ASK_THE_REGISTRY = ("tests/contract", "tests/docs/test_model_pages.py")
WHOLE = ("tests/architecture/test_layers.py", "tests/models/test_registry.py")
WHOLE += ("tests/setup/test_containers.py",)


@pytest.fixture
def copy(tmp_path) -> Path:
    """Copy what is of the project, without what was made from it."""
    made = shutil.ignore_patterns(
        "__pycache__", ".venv*", ".git", ".forecast", "*.egg-info", ".*_cache"
    )
    return shutil.copytree(ROOT, tmp_path / "copy", ignore=made, symlinks=True)


def test_the_steps_add_a_model_that_every_test_accepts(copy):
    blocks = {name: text for _, name, text in re.findall(BLOCK, PAGE, re.DOTALL | re.MULTILINE)}
    line = blocks.pop("forecast/models/__init__.py")
    assert set(blocks) == {"spec.py", "model.py", "README.md"}
    folder = copy / "forecast" / "models" / "drift"
    folder.mkdir()
    for name, text in blocks.items():
        (folder / name).write_text(text)
    (folder / "__init__.py").touch()
    registry = folder.parent / "__init__.py"
    registry.write_text(registry.read_text().replace('    "prophet",\n', f'    "prophet",\n{line}'))

    assert "forecast.models.drift" in find_packages(str(copy), include=["forecast*"])
    run_tests(copy, *ASK_THE_REGISTRY, "-k", "drift and not seasonal_drift")
    run_tests(copy, *WHOLE)


def run_tests(copy: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "0", "-q"]
    environment = os.environ | {"PYTHONPATH": str(copy)}
    run = subprocess.run(
        [*command, *arguments], cwd=copy, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 8
