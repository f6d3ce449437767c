"""Imports point one way, and the libraries stay where they belong."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "forecast"
TREES = {
    str(file.relative_to(PACKAGE)): ast.parse(file.read_text(), filename=str(file))
    for file in sorted(PACKAGE.rglob("*.py"))
}

# From the bottom up; a layer imports its own and those below it.
LAYERS = ("core", "models", "store", "data", "jobs", "serving", "training", "api")
# The stages of forecast/data, and the files of each; a file imports those before it.
DATA_STAGES = {
    "read: bytes to documents and tables": (
        ("policy", "bodies", "text_files", "binary_files", "urls", "files")
    ),
    "roles: what each column or field means": ("inline", "times", "tables"),
    "series: values on a regular grid": ("time_axis", "inputs", "panels", "parameters"),
    "edge: the named-file shape, requests and answers": (
        ("named_file", "named_series", "requests", "answers")
    ),
}
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
    "training/worker_main.py",  # a process of its own: torchrun tells it its rank
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


def names_in(tree: ast.Module) -> Iterator[str]:
    """Name what is imported, wherever it stands; `from a import b` gives `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.level == 0
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


IMPORTS = {file: set(names_in(tree)) for file, tree in TREES.items()}


def libraries(file: str) -> set[str]:
    return {name.partition(".")[0] for name in IMPORTS[file]}


def ours(file: str, *, within: str = "forecast") -> set[str]:
    """Name the folders and modules of a package of ours that a file imports."""
    depth = within.count(".") + 1
    return {name.split(".")[depth] for name in IMPORTS[file] if name.startswith(f"{within}.")}


def layer_of(file: str) -> str:
    return Path(file).parts[0].removesuffix(".py")


def model_of(file: str) -> str | None:
    """Name the model in whose folder a file is."""
    parts = Path(file).parts
    inside = parts[0] == "models" and len(parts) == 3 and parts[1] != "base"
    return parts[1] if inside else None


def allowed_layers(layer: str) -> set[str]:
    allowed = {*LAYERS[: LAYERS.index(layer) + 1], "__version__"}
    return allowed - {"models"} if layer == "store" else allowed  # it keeps folders, not objects


def allowed_libraries(file: str) -> set[str]:
    if model_of(file) and not file.endswith("/spec.py"):
        return MODEL_LIBRARIES
    return IN_BASE if file.startswith("models/base/") else set()


def offenders(wrong: dict[str, set[str]]) -> dict[str, set[str]]:
    """Keep the files that do something wrong, with what it is: all of them in one message."""
    return {file: found for file, found in wrong.items() if found}


def test_every_layer_is_there_to_be_checked():
    assert {layer_of(file) for file in TREES} == {"__init__", *LAYERS, *COMPOSITION}


def test_a_file_imports_only_its_own_layer_and_those_below():
    layers = {file: layer_of(file) for file in TREES if layer_of(file) in LAYERS}
    wrong = {file: ours(file) - allowed_layers(layer) for file, layer in layers.items()}
    assert offenders(wrong) == {}


def test_the_files_of_data_import_only_those_before_them():
    order = [name for names in DATA_STAGES.values() for name in names]
    files = {Path(file).stem: file for file in TREES if layer_of(file) == "data"}
    assert files.keys() - {"__init__"} == set(order)
    wrong = {
        name: ours(files[name], within="forecast.data") - set(order[:at])
        for at, name in enumerate(order)
    }
    assert offenders(wrong) == {}


def test_no_model_imports_another():
    models = {model for file in TREES if (model := model_of(file))}
    wrong = {
        file: ours(file, within="forecast.models") & models - {model}
        for file in TREES
        if (model := model_of(file))
    }
    assert offenders(wrong) == {}


def test_only_the_api_and_the_composition_know_http_frameworks():
    below = [file for file in TREES if layer_of(file) not in {"api", *COMPOSITION}]
    assert offenders({file: libraries(file) & WEB for file in below}) == {}


def test_only_models_know_model_libraries():
    wrong = {file: libraries(file) & MODEL_LIBRARIES - allowed_libraries(file) for file in TREES}
    assert offenders(wrong) == {}


def test_only_the_composition_reads_the_environment():
    files = {file: tree for file, tree in TREES.items() if file not in READ_THE_ENVIRONMENT}
    wrong = {
        file: environment_uses(tree) - {"setdefault", "written"} for file, tree in files.items()
    }
    assert offenders(wrong) == {}


def environment_uses(tree: ast.Module) -> set[str]:
    """How the environment is used: what is told to a library is not read."""
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    used = {node.attr for node in attributes if node.attr in {"getenv", "environb"}}
    told = {"setdefault": 0, "written": 0}
    for node in attributes:
        told["setdefault"] += node.attr == "setdefault" and is_environment(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            told["written"] += is_environment(node.value)
    used |= {name for name, count in told.items() if count}
    total = sum(is_environment(node) for node in attributes)
    return used if total == sum(told.values()) else {*used, "read"}


def is_environment(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "environ"


@pytest.mark.parametrize(
    ("code", "uses"),
    [
        ("import os\nos.environ.get('HOME')", {"read"}),
        ("import os\nx = os.environ['HOME']", {"read"}),
        ("import os\nx = os.getenv('HOME')", {"getenv"}),
        ("import os\nos.environ['A'] = '1'", {"written"}),
        ("import os\nos.environ.setdefault('A', '1'); f(os.environ)", {"setdefault", "read"}),
    ],
)
def test_reading_the_environment_is_told_from_writing_it(code, uses):
    assert environment_uses(ast.parse(code)) == uses
