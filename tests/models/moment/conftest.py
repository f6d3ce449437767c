"""Tiny MOMENT checkpoints, and series for them."""

import numpy as np
import pytest

from forecast.core.types import Series


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A checkpoint of each kind, as the authors lay it out."""
    from forecast.models.moment.tiny import write_tiny  # not where the library is missing

    found = {kind: tmp_path_factory.mktemp(kind) for kind in ("reconstruction", "forecasting")}
    for kind, folder in found.items():
        write_tiny(folder, kind)
    return found


@pytest.fixture(scope="session")
def published(folders):
    from forecast.models.moment.model import MomentModel

    return MomentModel.load_model(folders["reconstruction"], device="cpu")


@pytest.fixture(scope="session")
def tuned(folders):
    from forecast.models.moment.model import MomentModel

    return MomentModel.load_model(folders["forecasting"], device="cpu")


@pytest.fixture
def series_of():
    def make(steps=64, seed=0, level=50.0, **changes):
        random = np.random.default_rng(seed)
        target = level + 10 * np.sin(np.arange(steps) / 4) + random.normal(size=steps)
        return Series(**({"target": target[None], "item_id": str(seed)} | changes))

    return make
