"""Trends that happen within the window that is seen: a trend over more looks flat there."""

import numpy as np

from forecast.models.sprout.generator.drawing import (
    LENGTH,
    Array,
    Integers,
    Random,
    log_uniform,
    smooth_walk,
    standardised,
)


def trend(rng: Random, seen: Integers) -> Array:
    """Draw trends [N, T] of about unit size over the last `seen` steps [N] and the future."""
    count = len(seen)
    over = np.minimum(seen * log_uniform(rng, 0.5, 2.0, count), LENGTH)[:, None]
    time = (np.arange(LENGTH) - (LENGTH - 128 - over)) / over  # 0 to 1 within the window
    kind = rng.choice(7, count, p=(0.2, 0.25, 0.12, 0.08, 0.15, 0.12, 0.08))
    shapes = np.zeros((count, LENGTH))
    for number, draw in enumerate((_line, _damped, _logistic, _broken, _walk, _power), start=1):
        rows = np.flatnonzero(kind == number)
        shapes[rows] = draw(rng, time[rows])
    signed: Array = shapes * rng.choice((-1.0, 1.0), (count, 1), p=(0.4, 0.6))
    return signed


def _line(rng: Random, time: Array) -> Array:
    return rng.uniform(1, 3, (len(time), 1)) * time


def _damped(rng: Random, time: Array) -> Array:
    rate = rng.uniform(1.0, 6.0, (len(time), 1))
    return 2 * (1 - np.exp(-rate * np.maximum(time, -0.5)))


def _logistic(rng: Random, time: Array) -> Array:
    centre, rate = rng.uniform(0, 1.2, (len(time), 1)), rng.uniform(4, 25, (len(time), 1))
    return 2 / (1 + np.exp(-np.clip(rate * (time - centre), -40, 40)))


def _broken(rng: Random, time: Array) -> Array:
    total = rng.standard_normal((len(time), 1)) * time
    for _ in range(3):
        bend = rng.uniform(0, 1, (len(time), 1))
        total = total + 2 * rng.standard_normal((len(time), 1)) * np.maximum(time - bend, 0)
    return total


def _walk(rng: Random, time: Array) -> Array:
    width = int(rng.integers(5, 200))
    return standardised(smooth_walk(rng, len(time), width))


def _power(rng: Random, time: Array) -> Array:
    rate = rng.uniform(0.5, 2.0, (len(time), 1))
    return np.expm1(rate * np.clip(time, -1, 1.6)) / rate
