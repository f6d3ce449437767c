"""Series that are easy to learn."""

import numpy as np

from forecast.core.frequency import Frequency
from forecast.core.types import Series

PERIOD = 12


def wave(length: int, *, phase: float = 0.0, noise: float = 0.1, seed: int = 0) -> Series:
    steps = np.arange(length)
    rng = np.random.default_rng(seed)
    target = 50 + 5 * np.sin(2 * np.pi * steps / PERIOD + phase)
    return Series(
        target=(target + noise * rng.normal(size=length))[None],
        item_id=f"wave-{phase:g}",
        start=np.datetime64("2024-01-01", "s"),
        freq=Frequency.parse("D"),
    )


def promoted(length: int, *, seed: int = 0, horizon: int = 0) -> Series:
    """Noise around 10, and 20 more on the days of a promotion, which nothing else foretells."""
    rng = np.random.default_rng(seed)
    promo = (rng.random(length + horizon) < 0.3).astype(float)
    target = 10 + 20 * promo + 0.5 * rng.normal(size=length + horizon)
    return Series(
        target=target[None, :length],
        item_id=f"promoted-{seed}",
        past_covariates={"promo": promo[:length], "noise": rng.normal(size=length)},
        future_covariates={"promo": promo[length:]} if horizon else {},
    )
