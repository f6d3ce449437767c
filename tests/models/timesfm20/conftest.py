import numpy as np
import pytest
from transformers import TimesFmModelForPrediction

from forecast.core.types import Series
from forecast.models.timesfm20.model import TimesFM20Model
from forecast.models.timesfm20.tiny import write_tiny


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("published")
    write_tiny(path)
    return path


@pytest.fixture(scope="session")
def model(folder):
    return TimesFM20Model.load_model(folder, device="cpu")


@pytest.fixture(scope="session")
def library(folder):
    """The port itself, as it comes."""
    return TimesFmModelForPrediction.from_pretrained(folder, local_files_only=True)


@pytest.fixture
def series_of():
    def make(steps=100, seed=0, level=50.0, horizon=None, **changes):
        random = np.random.default_rng(seed)
        target = level + 10 * np.sin(np.arange(steps) / 5) + random.normal(size=steps)
        fields = {"target": target[None], "item_id": str(seed)}
        if horizon:
            price = random.normal(5, 2, steps + horizon)
            fields["target"] = (target + 3 * price[:steps])[None]
            fields["past_covariates"] = {"price": price[:steps]}
            fields["future_covariates"] = {"price": price[steps:]}
        return Series(**(fields | changes))

    return make
