"""Noisy sines to learn from, and a network that is small enough to learn them in a second."""

import numpy as np

from forecast.core.types import Series
from forecast.models.lstm.spec import LstmConfig

SMALL = {
    "device": "cpu",
    "context_length": 24,
    "horizon": 6,
    "segment_length": 4,
    "hidden_dim": 16,
    "learning_rate": 5e-3,
    "max_epochs": 8,
}


def wave(steps=300, *, seed=0, noise=0.1, shift=0):
    random = np.random.default_rng(seed)
    moments = np.arange(steps) - shift
    target = np.sin(2 * np.pi * moments / 12) + noise * random.normal(size=steps)
    return Series(target=target[None], item_id=f"wave {seed}")


def config_of(**changes):
    return LstmConfig(**(SMALL | changes))
