"""`scripts/measure` counts right, on a tree so small that the counts are seen."""

import subprocess
import sys
from pathlib import Path
from runpy import run_path
from textwrap import dedent
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "measure"
measure = SimpleNamespace(**run_path(str(SCRIPT)))

FILES = {
    "forecast/settings.py": """
        class StoreSettings: ...
        class Settings:
            store: "StoreSettings"
            policy: DataPolicy
        """,
    "forecast/models/__init__.py": 'REGISTRY = load_specs(__name__, "lstm", "tide", "ttm")',
    "forecast/models/lstm/spec.py": "class LstmOptions: ...",
    "forecast/models/base/model.py": "class Model: ...\nScale = float\n_KINDS = (1, 2)",
    "forecast/models/base/torch/network.py": "class Network: ...\nScale = int",
    "forecast/data/policy.py": "class DataPolicy: ...\n_KINDS = (1, 3)",
    "forecast/serving/loaded.py": """
        class QueueLimits: ...
        class Model:
            def __init__(self): ...
            def predict(self): ...
            async def _predict(self):
                def _inner(): ...
        """,
    "README.md": "lstm, tide and ttm",
    "pyproject.toml": "lstm\ntide",
    "CHANGELOG.md": "lstm, tide and ttm",
    "docs/lstm.md": "lstm, tides and ttms",
    "tests/models/lstm/test_model.py": "lstm tide ttm",
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(dedent(text).strip() + "\n")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    subprocess.run(["git", "add", "--all"], cwd=root, check=True)
    return root


@pytest.fixture(scope="module")
def trees(tree) -> dict:
    return measure.trees_of(tree)


def test_lines_and_files_are_counted(tree, trees):
    assert measure.lines(tree) == 4 + 1 + 1 + 3 + 2 + 2 + 6
    assert measure.count_under(trees, "forecast/models/base") == 2
    assert measure.count_under(trees, "forecast/data") == 1


def test_an_option_class_is_neither_a_models_own_nor_a_group_of_settings(trees):
    assert measure.option_classes(trees) == ["QueueLimits"]


def test_a_repeated_type_is_a_class_or_an_alias_in_two_files_but_no_constant(trees):
    assert sorted(measure.repeated_types(trees)) == ["Model", "Scale"]


def test_a_private_helper_has_one_underscore(trees):
    assert measure.private_share(trees) == 50


def test_a_shared_file_names_most_models(tree):
    assert measure.files_naming_the_models(tree) == ["README.md", "pyproject.toml"]


def test_it_prints_every_measure_of_this_tree_and_fails_only_if_told_to():
    result = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False, timeout=200
    )
    assert result.returncode == 0, result.stderr
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["measure", "now", "at", "most"]
    values = {row[:52].strip(): int(row[52:60]) for row in rows}
    assert len(values) == 9
    assert values["own functions called by one inference"] > 50
    assert values["lines of forecast/"] > 20_000


def test_strict_turns_a_limit_that_is_missed_into_a_failure():
    assert measure.exit_code({"lines": (3, 2)}, strict=True) == 1
    assert measure.exit_code({"lines": (2, 2)}, strict=True) == 0
    assert measure.exit_code({"lines": (3, 2)}, strict=False) == 0
