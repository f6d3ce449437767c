from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("chronos", reason="pip install 'forecast-gateway[chronos]'")

from forecast.models.chronos import tiny
from forecast.models.chronos.model import ChronosModel

WRITERS: dict[str, Callable[[Path], None]] = {
    "t5": tiny.write_tiny_t5,
    "bolt": tiny.write_tiny_bolt,
    "chronos2": tiny.write_tiny_chronos2,
}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each kind, as the authors lay it out."""
    found = {kind: tmp_path_factory.mktemp(kind) for kind in WRITERS}
    for kind, folder in found.items():
        WRITERS[kind](folder)
    return found


@pytest.fixture(scope="session")
def models(folders: dict[str, Path]) -> dict[str, ChronosModel]:
    return {kind: ChronosModel.load_model(path, device="cpu") for kind, path in folders.items()}


@pytest.fixture(params=list(WRITERS))
def model(request: pytest.FixtureRequest, models: dict[str, ChronosModel]) -> ChronosModel:
    return models[request.param]


@pytest.fixture
def bolt(models: dict[str, ChronosModel]) -> ChronosModel:
    return models["bolt"]


@pytest.fixture
def t5(models: dict[str, ChronosModel]) -> ChronosModel:
    return models["t5"]


@pytest.fixture
def chronos2(models: dict[str, ChronosModel]) -> ChronosModel:
    return models["chronos2"]
