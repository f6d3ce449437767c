"""Imports point one way, and the libraries stay where they belong."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "forecast"
FILES = sorted(str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py"))

# From the bottom up; a layer imports its own and those below it.
LAYERS = ("core", "models", "store", "data", "jobs", "serving", "training", "api")
COMPOSITION = {
    "settings",
    "keys",
    "logs",
    "server",
    "wiring",
    "main",
    "host",
    "worker",
    "cli",
}
READ_THE_ENVIRONMENT = {
    "settings.py",
    "main.py",
    "host.py",
    "worker.py",
    "training/processes/runner.py",  # a process of its own: torchrun tells it its rank
}
WEB = {"fastapi", "starlette", "uvicorn"}
MODEL_LIBRARIES = {
    "chronos",
    "cmdstanpy",
    "jax",
    "momentfm",
    "nixtla",
    "peft",
    "prophet",
    "sklearn",
    "statsforecast",
    "timesfm",
    "torch",
    "transformers",
    "uni2ts",
}
IN_BASE = {"torch", "peft"}  # what several models are trained with


def tree_of(file: str) -> ast.Module:
    return ast.parse((PACKAGE / file).read_text(), filename=file)


def imports(file: str) -> Iterator[str]:
    """Name what is imported, wherever it stands; `from a import b` gives `a` and `a.b`."""
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.level == 0
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def libraries(file: str) -> set[str]:
    return {name.partition(".")[0] for name in imports(file)}


def parts_within(file: str) -> list[set[str]]:
    """The folders and modules of ours that a file imports, by their depth."""
    own = [name.split(".")[1:] for name in imports(file) if name.startswith("forecast.")]
    return [{name[depth] for name in own if len(name) > depth} for depth in (0, 1)]


def layer_of(file: str) -> str:
    return Path(file).parts[0].removesuffix(".py")


def test_every_layer_is_there_to_be_checked():
    assert {layer_of(file) for file in FILES} == {"__init__", *LAYERS, *COMPOSITION}


@pytest.mark.parametrize("file", [file for file in FILES if layer_of(file) in LAYERS])
def test_a_file_imports_only_its_own_layer_and_those_below(file):
    layer = layer_of(file)
    allowed = {*LAYERS[: LAYERS.index(layer) + 1], "__version__"}
    if layer == "store":
        allowed.remove("models")  # it keeps folders, not objects
    assert parts_within(file)[0] <= allowed


def in_folder_of_a_model(file: str) -> bool:
    parts = Path(file).parts
    return parts[0] == "models" and len(parts) == 3 and parts[1] != "base"


@pytest.mark.parametrize("file", [file for file in FILES if in_folder_of_a_model(file)])
def test_no_model_imports_another(file):
    models = {Path(other).parts[1] for other in FILES if in_folder_of_a_model(other)}
    imported = {name.split(".")[2] for name in imports(file) if name.startswith("forecast.models.")}
    assert imported & models <= {Path(file).parts[1]}


@pytest.mark.parametrize("file", FILES)
def test_only_the_api_and_the_composition_know_http_frameworks(file):
    if layer_of(file) not in {"api", *COMPOSITION}:
        assert not libraries(file) & WEB


@pytest.mark.parametrize("file", FILES)
def test_only_models_know_model_libraries(file):
    if in_folder_of_a_model(file) and not file.endswith("/spec.py"):
        return
    allowed = IN_BASE if file.startswith("models/base/") else set()
    assert libraries(file) & MODEL_LIBRARIES <= allowed


@pytest.mark.parametrize("file", FILES)
def test_only_the_composition_reads_the_environment(file):
    if file in READ_THE_ENVIRONMENT:
        return
    for node in ast.walk(tree_of(file)):
        assert not (isinstance(node, ast.Attribute) and node.attr in {"getenv", "environb"})
    assert environment_uses(tree_of(file)) <= {"setdefault", "written"}


def environment_uses(tree: ast.Module) -> set[str]:
    """How `os.environ` is used: what is told to a library is not read."""
    used = {"setdefault": 0, "written": 0}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "setdefault":
            used["setdefault"] += is_environment(node.value)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            used["written"] += is_environment(node.value)
    total = sum(is_environment(node) for node in ast.walk(tree))
    found = {name for name, count in used.items() if count}
    return found if total == sum(used.values()) else {*found, "read"}


def is_environment(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "environ"


@pytest.mark.parametrize(
    ("code", "uses"),
    [
        ("import os\nos.environ.get('HOME')", {"read"}),
        ("import os\nx = os.environ['HOME']", {"read"}),
        ("import os\nos.environ['A'] = '1'", {"written"}),
        ("import os\nos.environ.setdefault('A', '1'); f(os.environ)", {"setdefault", "read"}),
    ],
)
def test_reading_the_environment_is_told_from_writing_it(code, uses):
    assert environment_uses(ast.parse(code)) == uses
