"""Series that TSMixer can learn in seconds."""

from typing import Any

import numpy as np
import pytest

from forecast.core.types import Series
from forecast.models.tsmixer.model import TSMixerModel

NAMES = ("leader", "follower")


def pair(steps: int, *, start: int = 0) -> Series:
    """Noise, and the same noise three steps later: only the first channel knows the second."""
    noise = np.random.default_rng(7).standard_normal(5000)
    leader, follower = noise[start + 3 : start + 3 + steps], noise[start : start + steps]
    return Series(target=np.stack([5 * leader, 100 + follower]), channels=NAMES)


SMALL: dict[str, Any] = {
    "context_length": 12,
    "horizon": 3,
    "hidden_dim": 16,
    "num_layers": 2,
    "dropout": 0.0,
    "batch_size": 32,
    "max_epochs": 15,
    "learning_rate": 1e-2,
    "device": "cpu",
}


def untrained(**options: Any) -> TSMixerModel:
    return TSMixerModel(TSMixerModel.spec.config(**(SMALL | options)))


@pytest.fixture(scope="session")
def trained() -> TSMixerModel:
    return untrained().fit([pair(600)], [pair(200, start=600)])
