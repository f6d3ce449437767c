"""Stochastic processes: state space, SARIMA, Gaussian processes, walks, counts, odd ones.

Each function draws [N, T] values with the seasons [N, 2] that they really have; 1 is none.
"""

from functools import lru_cache

import numpy as np

from forecast.models.sprout.generator.drawing import (
    LENGTH,
    Array,
    Integers,
    Random,
    autoregressed,
    log_uniform,
    noise,
    smooth_walk,
    standardised,
)
from forecast.models.sprout.generator.seasons import draw_periods, pattern, usual_periods

_WARM_UP = 100
_LONGEST_STATE = 60  # steps of a season that ETS keeps as state
Drawn = tuple[Array, Integers]


def no_seasons(count: int) -> Integers:
    """Give seasons [N, 2] of 1, which is none."""
    return np.ones((count, 2), dtype=np.int64)


def exponential_smoothing(rng: Random, count: int) -> Drawn:
    """Simulate ETS: level, damped trend and additive or multiplicative season."""
    period = usual_periods(rng, count)
    period = np.where((period > _LONGEST_STATE) | (rng.random(count) < 0.25), 1, period)
    alpha = rng.beta(1.2, 2.5, count)
    beta = alpha * rng.beta(1, 8, count) * (rng.random(count) < 0.5)
    gamma = (1 - alpha) * rng.beta(1, 6, count)
    damping = np.where(rng.random(count) < 0.5, rng.uniform(0.8, 0.995, count), 1.0)
    multiplies = rng.random(count) < 0.4
    state = rng.standard_normal((count, _LONGEST_STATE)) * log_uniform(rng, 0.05, 5, (count, 1))
    state[period == 1] = 0
    level, slope = rng.standard_normal(count), rng.standard_normal(count) * 0.02
    shocks, rows = rng.standard_normal((LENGTH, count)), np.arange(count)
    values = np.empty((count, LENGTH))
    size = np.ones(count)
    for step in range(LENGTH):
        place = step % period
        season = state[rows, place]
        size = np.where(multiplies, np.exp(np.clip(0.15 * level, -3, 3)), 1.0)
        values[:, step] = level + slope + season * size + shocks[step]
        level = level + slope + alpha * shocks[step]
        slope = damping * slope + beta * shocks[step]
        state[rows, place] = season + np.where(period > 1, gamma * shocks[step], 0.0)
    return values, np.stack([period, np.ones_like(period)], axis=1)


def sarima(rng: Random, count: int) -> Drawn:
    """Simulate seasonal ARIMA whose autoregressive roots are stable."""
    period = usual_periods(rng, count)
    period = np.where(rng.random(count) < 0.3, 1, np.minimum(period, 168))
    seasonal = period > 1
    radius, angle = rng.uniform(0, 0.97, count), rng.uniform(0, np.pi, count)
    complex_roots = rng.random(count) < 0.3
    one, two = rng.uniform(-0.6, 0.97, count), rng.uniform(-0.6, 0.8, count)
    first = np.where(complex_roots, 2 * radius * np.cos(angle), one + two)
    second = np.where(complex_roots, -(radius**2), -one * two)
    yearly = np.where(seasonal, rng.uniform(-0.2, 0.95, count), 0.0)
    moving = rng.uniform(-0.8, 0.6, count)
    yearly_moving = np.where(seasonal, rng.uniform(-0.9, 0.3, count), 0.0)
    total = LENGTH + _WARM_UP + 168
    shocks = rng.standard_normal((total, count))
    values, rows = np.zeros((total, count)), np.arange(count)
    for now in range(170, total):
        values[now] = (
            first * values[now - 1]
            + second * values[now - 2]
            + yearly
            * (
                values[now - period, rows]
                - first * values[now - period - 1, rows]
                - second * values[np.maximum(now - period - 2, 0), rows]
            )
            + shocks[now]
            + moving * shocks[now - 1]
            + yearly_moving * shocks[now - period, rows]
        )
    found = _integrated(rng, standardised(values[-LENGTH:].T), period)
    return found, np.stack([period, np.ones_like(period)], axis=1)


def _integrated(rng: Random, values: Array, period: Integers) -> Array:
    """Sum some series up over time, and some season by season."""
    by_step = np.flatnonzero(rng.random(len(values)) < 0.35)
    drift = rng.standard_normal((len(by_step), 1)) * 0.05
    values[by_step] = np.cumsum(values[by_step] + drift, axis=1)
    by_season = np.flatnonzero((rng.random(len(values)) < 0.35) & (period > 1))
    values[by_season] = standardised(values[by_season])
    values[by_season, :168] *= log_uniform(rng, 1, 10, (len(by_season), 1))
    for now in range(2, LENGTH):
        rows = by_season[period[by_season] <= now]
        values[rows, now] += values[rows, now - period[rows]]
    return values


@lru_cache(maxsize=1)
def _kernels() -> tuple[tuple[np.ndarray, int], ...]:
    """Factor covariance matrices once: (factor [T, T], the period or 1)."""
    steps = np.arange(LENGTH, dtype=np.float64)
    apart = np.abs(steps[:, None] - steps)
    stationary = [np.exp(-0.5 * (apart / width) ** 2) for width in (4, 15, 50, 150, 400)]
    stationary += [np.exp(-apart / width) for width in (3, 20, 100)]
    made = [(kernel, 1) for kernel in stationary]
    for period in (7, 12, 24, 48, 52, 96, 168):
        repeats = np.exp(-2 * np.sin(np.pi * apart / period) ** 2 / 0.7**2)
        made.append((repeats, period))
        made.append((repeats * np.exp(-0.5 * (apart / (6 * period)) ** 2), period))
    jitter = 1e-4 * np.eye(LENGTH)
    return tuple(
        (np.linalg.cholesky(kernel + jitter).astype(np.float32), period) for kernel, period in made
    )


def gaussian_processes(rng: Random, count: int) -> Drawn:
    """Sum or multiply two draws from Gaussian processes, plus noise."""
    kernels = _kernels()
    seasons = no_seasons(count)
    parts = []
    for part in range(2):
        values = np.empty((count, LENGTH))
        chosen = rng.integers(0, len(kernels), count)
        for number, (factor, period) in enumerate(kernels):
            rows = np.flatnonzero(chosen == number)
            if len(rows):
                shocks = rng.standard_normal((len(rows), LENGTH), dtype=np.float32)
                values[rows] = shocks @ factor.T
                seasons[rows, part] = period
        parts.append(values)
    sizes = log_uniform(rng, 0.2, 2.0, (count, 1))
    both = np.where(rng.random((count, 1)) < 0.25, parts[0] * parts[1], parts[0] + sizes * parts[1])
    seasons.sort(axis=1)
    seasons = np.where(seasons[:, :1] == 1, seasons[:, ::-1], seasons)
    return standardised(both) + log_uniform(rng, 0.01, 1, (count, 1)) * noise(rng, count), seasons


def random_walks(rng: Random, count: int) -> Drawn:
    """Simulate walks: with drift, heavy tails, volatility that clusters, or as a price."""
    shocks = rng.standard_normal((count, LENGTH))
    heavy = rng.random(count) < 0.4
    shocks[heavy] /= np.sqrt(rng.chisquare(4, (int(heavy.sum()), LENGTH)) / 4)
    clustered = autoregressed(0.15 * rng.standard_normal((count, LENGTH)), np.full(count, 0.97))
    shocks *= np.exp(clustered * (rng.random((count, 1)) < 0.5))
    walk = np.cumsum(shocks + 0.05 * rng.standard_normal((count, 1)), axis=1)
    price = np.exp(np.clip(walk * log_uniform(rng, 0.003, 0.05, (count, 1)), -4, 4))
    values = np.where(rng.random((count, 1)) < 0.4, price, walk)
    reverting = rng.random(count) < 0.2
    values[reverting] = autoregressed(shocks[reverting], rng.uniform(0.9, 0.995, reverting.sum()))
    return values, no_seasons(count)


def counts(rng: Random, count: int) -> Drawn:
    """Draw counts: steady, seasonal, over-dispersed, and rare ones with zeros between."""
    period = draw_periods(rng, count)[:, 0]
    period = np.where(rng.random(count) < 0.4, 1.0, np.floor(period))
    swing = np.where(period > 1, rng.uniform(0.1, 1.2, count), 0.0)[:, None]
    wander = smooth_walk(rng, count, 150) * log_uniform(rng, 0.02, 0.6, (count, 1))
    rate = np.exp(np.clip(swing * pattern(rng, np.maximum(period, 2)) + wander, -4, 3))
    rate *= log_uniform(rng, 0.05, 60, (count, 1))
    spread = log_uniform(rng, 0.5, 50, (count, 1))
    mixed = np.where(rng.random((count, 1)) < 0.5, rng.gamma(spread, rate / spread), rate)
    drawn = rng.poisson(mixed).astype(np.float64)
    rare = rng.random((count, 1)) < 0.3
    bursts = (rng.random((count, LENGTH)) < rng.uniform(0.03, 0.5, (count, 1))) * (1 + drawn)
    return np.where(rare, bursts, drawn), np.stack(
        [period.astype(np.int64), np.ones(count, dtype=np.int64)], axis=1
    )


def odd_ones(rng: Random, count: int) -> Drawn:
    """Draw what is none of the above: regimes, fading shocks, chaos, bursts of volatility."""
    kind = rng.integers(0, 4, count)
    values = np.empty((count, LENGTH))
    for number, draw in enumerate((_regimes, _fading_shocks, _chaos, _volatile)):
        rows = np.flatnonzero(kind == number)
        values[rows] = draw(rng, len(rows))
    return values, no_seasons(count)


def _regimes(rng: Random, count: int) -> Array:
    switches = rng.random((count, LENGTH)) < log_uniform(rng, 0.004, 0.1, (count, 1))
    number = np.minimum(np.cumsum(switches, axis=1), LENGTH - 1)
    levels = rng.standard_normal((count, LENGTH))
    two = np.round(rng.random((count, LENGTH)))
    levels = np.where(rng.random((count, 1)) < 0.5, two, levels)
    level = np.take_along_axis(levels, number, axis=1)
    return level + log_uniform(rng, 0.02, 1, (count, 1)) * noise(rng, count)


def _fading_shocks(rng: Random, count: int) -> Array:
    hits = rng.random((count, LENGTH)) < log_uniform(rng, 0.005, 0.1, (count, 1))
    sizes = np.where(hits, np.exp(rng.standard_normal((count, LENGTH))), 0.0)
    faded = autoregressed(sizes, rng.uniform(0.3, 0.98, count))
    return faded + log_uniform(rng, 0.005, 0.3, (count, 1)) * noise(rng, count)


def _chaos(rng: Random, count: int) -> Array:
    values = np.empty((count, LENGTH))
    now, rate = rng.uniform(0.1, 0.9, count), rng.uniform(3.5, 4.0, count)
    for step in range(LENGTH):
        now = rate * now * (1 - now)
        values[:, step] = now
    return autoregressed(values, rng.uniform(0, 0.8, count))


def _volatile(rng: Random, count: int) -> Array:
    shocks = 0.2 * rng.standard_normal((count, LENGTH))
    volatility = autoregressed(shocks, rng.uniform(0.9, 0.99, count))
    return rng.standard_normal((count, LENGTH)) * np.exp(np.clip(volatility, -3, 3))
