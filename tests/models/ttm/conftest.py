from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("tsfm_public") is None:  # not imported here: it changes the root logger
    pytest.skip("its own environment has it: ./setup.sh env ttm", allow_module_level=True)

from forecast.models.ttm.model import TTMModel
from forecast.models.ttm.tiny import write_tiny

KINDS = ("r2", "r3", "r3-dec")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each kind, as the authors lay it out."""
    found = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    for kind, folder in found.items():
        write_tiny(folder, kind)
    return found


@pytest.fixture(scope="session")
def models(folders: dict[str, Path]) -> dict[str, TTMModel]:
    return {kind: TTMModel.load_model(path, device="cpu") for kind, path in folders.items()}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(kind: str, models: dict[str, TTMModel]) -> TTMModel:
    """Loaded once: for tests that do not train it."""
    return models[kind]


@pytest.fixture
def r2(models: dict[str, TTMModel]) -> TTMModel:
    return models["r2"]
