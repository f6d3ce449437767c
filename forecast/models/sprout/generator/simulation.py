"""Series of every kind, disturbed and mixed: what the network is pretrained on."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from forecast.models.sprout.generator import processes
from forecast.models.sprout.generator.drawing import (
    LENGTH,
    Array,
    Integers,
    Random,
    log_uniform,
    noise,
    standardised,
)
from forecast.models.sprout.generator.seasons import (
    days_of_weeks,
    draw_periods,
    evolving,
    usual_periods,
)
from forecast.models.sprout.generator.trends import trend

HORIZON = 128
LOOK_BACK = LENGTH - HORIZON

Draw = Callable[[Random, Integers], processes.Drawn]


class Simulated(NamedTuple):
    """Series [N, 896] of unit size, their true seasons [N, 2] and the steps to show [N]."""

    values: Array
    seasons: Integers
    seen: Integers


def simulate(rng: Random, count: int) -> Simulated:
    """Draw series of all kinds, in random order."""
    seen = _lengths(rng, count)
    kind = rng.choice(len(_FAMILIES), count, p=[share for share, _ in _FAMILIES])
    values, seasons = np.empty((count, LENGTH)), processes.no_seasons(count)
    for number, (_, draw) in enumerate(_FAMILIES):
        rows = np.flatnonzero(kind == number)
        if len(rows):
            values[rows], seasons[rows] = draw(rng, seen[rows])
    values = standardised(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0))
    values, seasons = _mixed(rng, values, seasons)
    values = _disturbed(rng, values)
    return Simulated(values, seasons, _in_seasons(rng, seen, seasons))


def _lengths(rng: Random, count: int) -> Integers:
    long = rng.integers(300, LOOK_BACK + 1, count)
    any_length = log_uniform(rng, 2.5, LOOK_BACK, count).astype(np.int64)
    return np.where(rng.random(count) < 0.55, long, any_length)


def _in_seasons(rng: Random, seen: Integers, seasons: Integers) -> Integers:
    """Show some series for a few seasons only, as monthly and quarterly ones are."""
    by_season = (seasons[:, 0] * log_uniform(rng, 1.7, 14, len(seen))).astype(np.int64)
    chosen = (rng.random(len(seen)) < 0.45) & (seasons[:, 0] > 3) & (by_season <= LOOK_BACK)
    return np.where(chosen, by_season, seen)


def structural(rng: Random, seen: Integers) -> processes.Drawn:
    """Combine trend, up to two seasons and noise: added, multiplied or as a logarithm."""
    count = len(seen)
    period = draw_periods(rng, count)
    unseasonal = rng.random(count) < 0.12
    period[unseasonal] = 1.0
    seasonal = evolving(rng, np.maximum(period[:, 0], 2.0)) * (period[:, :1] > 1)
    share = log_uniform(rng, 0.1, 1.5, (count, 1)) * (period[:, 1:] > 1)
    seasonal = seasonal + share * evolving(rng, np.maximum(period[:, 1], 2.0))
    return _combined(rng, seasonal, seen), np.maximum(np.rint(period), 1).astype(np.int64)


def calendar_like(rng: Random, seen: Integers) -> processes.Drawn:
    """Combine a trend, days that differ within a week, and noise."""
    seasonal, seasons = days_of_weeks(rng, len(seen))
    return _combined(rng, seasonal, seen), seasons


def _combined(rng: Random, seasonal: Array, seen: Integers) -> Array:
    count = len(seen)
    drift = trend(rng, seen) * log_uniform(rng, 0.03, 4.0, (count, 1))
    uneven = log_uniform(rng, 0.004, 1.5, (count, 1)) * noise(rng, count)
    following = (rng.random((count, 1)) < 0.25) * rng.uniform(0, 1, (count, 1))
    uneven = uneven * np.exp(np.clip(following * seasonal, -3, 2))
    depth = rng.uniform(0.05, 0.45, (count, 1))
    deep = log_uniform(rng, 0.1, 1.5, (count, 1))
    how = rng.choice(3, (count, 1), p=(0.5, 0.27, 0.23))
    added = drift + seasonal + uneven
    multiplied = np.exp(np.clip(depth * 1.5 * drift, -3, 3)) * (1 + depth * (seasonal + uneven))
    logarithmic = np.exp(np.clip(deep * added, -6, 6))
    combined: Array = np.where(how == 1, multiplied, np.where(how == 2, logarithmic, added))
    return combined


def _without_length(draw: Callable[[Random, int], processes.Drawn]) -> Draw:
    return lambda rng, seen: draw(rng, len(seen))


_FAMILIES: tuple[tuple[float, Draw], ...] = (
    (0.36, structural),
    (0.13, calendar_like),
    (0.13, _without_length(processes.exponential_smoothing)),
    (0.11, _without_length(processes.sarima)),
    (0.09, _without_length(processes.gaussian_processes)),
    (0.07, _without_length(processes.random_walks)),
    (0.06, _without_length(processes.counts)),
    (0.05, _without_length(processes.odd_ones)),
)


def _mixed(rng: Random, values: Array, seasons: Integers) -> tuple[Array, Integers]:
    """Add to some series another one; the seasons named are those of the larger part."""
    rows = np.flatnonzero(rng.random(len(values)) < 0.2)
    others = rng.permutation(len(values))[: len(rows)]
    share = rng.uniform(0.05, 0.95, (len(rows), 1))
    mixed = (1 - share) * values[rows] + share * values[others]
    seasons = seasons.copy()
    seasons[rows] = np.where(share < 0.5, seasons[rows], seasons[others])
    values[rows] = standardised(mixed)
    return values, seasons


def _disturbed(rng: Random, values: Array) -> Array:
    """Shift levels, add outliers, cut off, round and flip some of the series [N, T]."""
    count = len(values)
    for disturb, share in (
        (_shifted, 0.12),
        (_with_outliers, 0.12),
        (_interrupted, 0.12),
        (_cut_off, 0.05),
        (_rounded, 0.08),
        (_flipped, 0.15),
    ):
        rows = np.flatnonzero(rng.random(count) < share)
        values[rows] = disturb(rng, values[rows])
    return values


def _shifted(rng: Random, values: Array) -> Array:
    for _ in range(2):
        after = np.arange(LENGTH) >= rng.integers(0, LENGTH, (len(values), 1))
        values = values + after * rng.standard_normal((len(values), 1)) * 1.5
    return values


def _with_outliers(rng: Random, values: Array) -> Array:
    hit = rng.random(values.shape) < log_uniform(rng, 0.001, 0.03, (len(values), 1))
    size = np.clip(rng.standard_t(2, values.shape), -15, 15)
    sided = np.where(rng.random((len(values), 1)) < 0.4, np.abs(size), size)
    return values + hit * sided * log_uniform(rng, 0.3, 3, (len(values), 1))


def _interrupted(rng: Random, values: Array) -> Array:
    """Raise, lower or still some stretches, as campaigns, strikes and repairs do."""
    steps = np.arange(LENGTH)
    count = len(values)
    usual = np.take_along_axis(values, rng.integers(0, LENGTH, (count, 1)), axis=1)
    for _ in range(3):
        begin = rng.integers(-30, LENGTH, (count, 1))
        inside = (steps >= begin) & (steps < begin + log_uniform(rng, 2, 80, (count, 1)))
        still = rng.random((count, 1)) < 0.3
        other = np.where(still, usual, values + rng.standard_normal((count, 1)))
        values = np.where(inside, other, values)
    return values


def _cut_off(rng: Random, values: Array) -> Array:
    rank = rng.integers(LENGTH // 50, LENGTH * 6 // 10, (len(values), 1))
    floor = np.take_along_axis(np.sort(values, axis=1), rank, axis=1)
    return np.maximum(values, floor)


def _rounded(rng: Random, values: Array) -> Array:
    grain = log_uniform(rng, 0.02, 0.7, (len(values), 1))
    return np.round(values / grain) * grain


def _flipped(rng: Random, values: Array) -> Array:  # noqa: ARG001 -- one signature for all
    return -values


def hints(rng: Random, seasons: Integers) -> Integers:
    """Draw what a caller's frequency would say [N, 2]; rows of 0 leave it to be found."""
    count = len(seasons)
    fate = rng.random(count)
    usual = np.stack([usual_periods(rng, count), np.ones(count, dtype=np.int64)], axis=1)
    told = np.where((seasons[:, :1] == 1), usual, seasons)
    told = np.where((fate < 0.56)[:, None], told, usual)
    told[rng.random(count) < 0.3, 1] = 1
    weeks = (rng.random(count) < 0.4) & (told[:, 1] == 1) & (7 * told[:, 0] <= LOOK_BACK // 2)
    told[weeks, 1] = 7 * told[weeks, 0]  # days have weeks, says the frequency; not all have
    return np.where((fate < 0.6)[:, None], told, 0)
