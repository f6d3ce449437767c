import sys
import types
from contextlib import nullcontext

import numpy as np
import pytest
import timesfm
from timesfm.timesfm_2p5.timesfm_2p5_torch import TimesFM_2p5_200M_torch_module

from forecast.core.types import Series
from forecast.models.timesfm25.layout import definition_of
from forecast.models.timesfm25.model import TimesFM25Model
from forecast.models.timesfm25.tiny import tiny_tensors, write_tiny


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("native")
    write_tiny(path)
    return path


@pytest.fixture(scope="session")
def model(folder):
    return TimesFM25Model.load_model(folder, device="cpu")


@pytest.fixture
def library(folder, monkeypatch):
    """The package's own forecaster, loaded by its own loader from the same checkpoint."""
    definition = definition_of(tiny_tensors())
    monkeypatch.setattr(TimesFM_2p5_200M_torch_module, "config", definition)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    return timesfm.TimesFM_2p5_200M_torch.from_pretrained(str(folder), torch_compile=False)


@pytest.fixture
def numpy_as_jax(monkeypatch):
    """Let the package's regressor route run: of jax it uses only what numpy has too."""
    pytest.importorskip("sklearn", reason="pip install scikit-learn")
    jax = types.ModuleType("jax")
    jax.numpy, jax.Array = np, np.ndarray
    jax.default_device, jax.devices = nullcontext, lambda kind: [kind]
    monkeypatch.setitem(sys.modules, "jax", jax)
    monkeypatch.setitem(sys.modules, "jax.numpy", np)
    yield
    sys.modules.pop("timesfm.utils.xreg_lib", None)


@pytest.fixture
def series_of():
    def make(steps=100, seed=0, level=50.0, horizon=None, **changes):
        random = np.random.default_rng(seed)
        target = level + 10 * np.sin(np.arange(steps) / 5) + random.normal(size=steps)
        fields = {"target": target[None], "item_id": str(seed)}
        if horizon:
            price = random.normal(5, 2, steps + horizon)
            promo = random.choice(["no", "some", "yes"], steps + horizon)
            fields["target"] = (target + 3 * price[:steps] + 9 * (promo == "yes")[:steps])[None]
            fields["past_covariates"] = {"price": price[:steps], "promo": promo[:steps]}
            fields["future_covariates"] = {"price": price[steps:], "promo": promo[steps:]}
        return Series(**(fields | changes))

    return make
