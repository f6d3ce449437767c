"""Random numbers in the shapes that the simulations need."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Random = np.random.Generator

LENGTH = 896  # steps simulated: 768 that the experts look back on, and 128 to forecast


def log_uniform(
    rng: Random, low: float | Array, high: float | Array, size: int | tuple[int, ...]
) -> Array:
    """Draw numbers whose logarithm is uniform."""
    drawn: Array = np.exp(rng.uniform(np.log(low), np.log(high), size))
    return drawn


def standardised(values: Array) -> Array:
    """Give each row [N, T] mean 0 and standard deviation 1; a flat row becomes 0."""
    centred = values - values.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    scaled: Array = centred / np.where(spread > 1e-9, spread, 1.0)
    return scaled


def smooth_walk(rng: Random, count: int, width: int) -> Array:
    """Draw random walks [N, T] smoothed over `width` steps, standardised."""
    steps = np.cumsum(rng.standard_normal((count, LENGTH + width)), axis=1)
    sums = np.cumsum(steps, axis=1)
    return standardised(sums[:, width:] - sums[:, :-width])


def noise(rng: Random, count: int) -> Array:
    """Draw noise [N, T] of unit variance: some autocorrelated, heavy-tailed, now more, now less."""
    white = rng.standard_normal((count, LENGTH))
    heavy = rng.random(count) < 0.2
    tails = np.sqrt(rng.chisquare(3.5, (int(heavy.sum()), LENGTH)) / 3.5)
    white[heavy] /= tails
    varying = np.flatnonzero(rng.random(count) < 0.25)
    white[varying] *= np.exp(rng.uniform(0, 0.8) * smooth_walk(rng, len(varying), 100))
    colour = np.where(rng.random(count) < 0.35, rng.uniform(0.2, 0.97, count), 0.0)
    return standardised(autoregressed(white, colour))


def autoregressed(shocks: Array, coefficient: Array) -> Array:
    """Run x[t] = coefficient · x[t-1] + shocks[t] along each row."""
    values, power, lag = shocks.copy(), coefficient[:, None], 1
    while lag < shocks.shape[1]:
        values[:, lag:] += power * values[:, :-lag].copy()
        power, lag = power**2, 2 * lag
    return values
