"""Noisy sines to learn from, and a network that is small enough to learn them in a second."""

import numpy as np

from forecast.core.types import Series
from forecast.models.ts2vec.spec import Ts2VecConfig

SMALL = {
    "device": "cpu",
    "context_length": 24,
    "horizon": 6,
    "hidden_dim": 8,
    "num_layers": 3,
    "representation_dim": 16,
    "max_steps": 40,
}


def sine(steps=300, *, seed=0, noise=0.1):
    random = np.random.default_rng(seed)
    target = np.sin(2 * np.pi * np.arange(steps) / 12) + noise * random.normal(size=steps)
    return Series(target=target[None], item_id=f"sine {seed}")


def config_of(**changes):
    return Ts2VecConfig(**(SMALL | changes))
