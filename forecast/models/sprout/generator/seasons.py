"""Seasonal patterns: usual and odd periods, many shapes, evolving and drifting."""

import numpy as np

from forecast.models.sprout.generator.drawing import (
    LENGTH,
    Array,
    Integers,
    Random,
    autoregressed,
    log_uniform,
    smooth_walk,
    standardised,
)

USUAL = {
    4: 3.0, 5: 1.5, 6: 1.0, 7: 5.0, 8: 0.7, 10: 0.7, 12: 6.0, 13: 0.7, 14: 0.7, 20: 0.5,
    24: 8.0, 26: 0.7, 28: 0.5, 30: 0.7, 48: 2.0, 52: 3.0, 60: 0.7, 72: 0.4, 96: 2.0,
    144: 0.8, 168: 1.0, 288: 0.5, 336: 0.5,
}  # fmt: skip
_LONGEST = 400
_GRID = 512


def usual_periods(rng: Random, count: int) -> Integers:
    """Draw periods that calendars and clocks give."""
    weights = np.array(list(USUAL.values()))
    return rng.choice(np.array(list(USUAL)), count, p=weights / weights.sum()).astype(np.int64)


def draw_periods(rng: Random, count: int) -> Array:
    """Draw a first and a second period [N, 2]; a second of 1 is none."""
    first = usual_periods(rng, count).astype(np.float64)
    odd = rng.random(count) < 0.15
    first[odd] = np.floor(log_uniform(rng, 2.0, 200.0, int(odd.sum())))
    broken = rng.random(count) < 0.07
    first[broken] = log_uniform(rng, 3.0, 150.0, int(broken.sum()))
    ratio = np.where(rng.random(count) < 0.6, 7, rng.integers(2, 15, count))
    second = np.where(rng.random(count) < 0.35, first * ratio, 1.0)
    second = np.where(second <= _LONGEST, second, 1.0)
    return np.stack([np.maximum(first, 2.0), second], axis=1)


def pattern(rng: Random, period: Array) -> Array:
    """Draw one pattern [N, T] of the given periods [N], of unit size."""
    count = len(period)
    position = np.arange(LENGTH) + rng.integers(0, 1000, count)[:, None]
    place = np.mod(position, period[:, None])
    by_phase = np.minimum((place / period[:, None] * _GRID).astype(np.int64), _GRID - 1)
    kind = rng.choice(4, count, p=(0.4, 0.15, 0.15, 0.3))
    values = np.empty((count, LENGTH))
    for number, draw in enumerate((_harmonics, _bumps, _edges)):
        rows = np.flatnonzero(kind == number)
        values[rows] = np.take_along_axis(draw(rng, period[rows]), by_phase[rows], axis=1)
    rows = np.flatnonzero(kind == 3)
    values[rows] = np.take_along_axis(_free(rng, len(rows)), place[rows].astype(np.int64), axis=1)
    return standardised(values)


def evolving(rng: Random, period: Array) -> Array:
    """Draw patterns [N, T] some of which change their shape or their size with time."""
    count = len(period)
    seasonal = pattern(rng, period)
    changing = np.flatnonzero(rng.random(count) < 0.2)
    start = rng.uniform(-0.5, 0.8, (len(changing), 1))
    share = np.clip((np.linspace(0, 1, LENGTH) - start) / rng.uniform(0.3, 1.5), 0, 1)
    other = pattern(rng, period[changing])
    seasonal[changing] = (1 - share) * seasonal[changing] + share * other
    drifting = np.flatnonzero(rng.random(count) < 0.35)
    size = rng.uniform(0.05, 0.6, (len(drifting), 1))
    seasonal[drifting] *= np.exp(size * smooth_walk(rng, len(drifting), 200))
    uneven = np.flatnonzero(rng.random(count) < 0.25)
    number = (np.arange(LENGTH) / period[uneven, None]).astype(np.int64)
    seasonal[uneven] = by_cycle(rng, seasonal[uneven], number)
    return seasonal


def by_cycle(rng: Random, seasonal: Array, number: Integers) -> Array:
    """Make some days higher, or more pronounced, than others, as weather does.

    Args:
        seasonal: [N, T].
        number: [N, T] of the day, or other cycle, that each step is in.
    """
    count = len(seasonal)
    parts = []
    for share in (0.5, 0.4):
        memory = rng.uniform(0, 0.97, count)
        walk = autoregressed(rng.standard_normal((count, LENGTH)), memory)
        walk *= np.sqrt(1 - memory**2)[:, None]
        size = log_uniform(rng, 0.02, 0.6, (count, 1)) * (rng.random((count, 1)) < share)
        parts.append(np.take_along_axis(walk, number, axis=1) * size)
    level, size = parts
    uneven: Array = level + seasonal * np.exp(np.clip(size, -2, 2))
    return uneven


def days_of_weeks(rng: Random, count: int) -> tuple[Array, Integers]:
    """Draw day-by-week patterns [N, T] with their seasons [N, 2]: workdays and days off."""
    day = rng.choice(np.array([6, 8, 12, 24, 24, 24, 24, 48]), count)
    per_week = np.where(rng.random(count) < 0.9, 7, 5)
    workday, day_off = (pattern(rng, day.astype(np.float64)) for _ in range(2))
    off = day_off * rng.uniform(0.1, 1.0, (count, 1)) + workday * rng.uniform(0, 1.0, (count, 1))
    position = np.arange(LENGTH) + rng.integers(0, 1000, count)[:, None] * day[:, None]
    weekday = position // day[:, None] % per_week[:, None]
    levels = rng.standard_normal((count, 7)) * log_uniform(rng, 0.03, 1.0, (count, 1))
    levels[:, 5:] -= np.abs(rng.standard_normal((count, 1)))
    sizes = np.exp(rng.standard_normal((count, 7)) * log_uniform(rng, 0.02, 0.5, (count, 1)))
    number = (position - position[:, :1] // day[:, None] * day[:, None]) // day[:, None]
    free = rng.random((count, LENGTH)) < log_uniform(rng, 0.001, 0.05, (count, 1))  # by day
    weekday = np.where(np.take_along_axis(free, number, axis=1), 6, weekday)
    size = np.take_along_axis(sizes, weekday, axis=1)
    shaped = np.where(weekday >= 5, off, workday) * size
    seasonal = standardised(shaped + np.take_along_axis(levels, weekday, axis=1))
    seasonal = by_cycle(rng, seasonal, number)
    return standardised(seasonal), np.stack([day, day * per_week], axis=1).astype(np.int64)


def _harmonics(rng: Random, period: Array) -> Array:
    """Sum a few sine waves over one period: [N, grid]."""
    count = len(period)
    order = np.arange(1, 7)
    decay = rng.uniform(0.3, 2.5, (count, 1))
    sizes = rng.standard_normal((count, 6)) * order**-decay
    sizes *= (order <= rng.integers(1, 7, (count, 1))) & (order <= period[:, None] / 2)
    angle = 2 * np.pi * np.arange(_GRID) / _GRID * order[:, None]
    shift = rng.uniform(0, 2 * np.pi, (count, 6))
    table: Array = (sizes * np.cos(shift)) @ np.cos(angle) + (sizes * np.sin(shift)) @ np.sin(angle)
    return table


def _bumps(rng: Random, period: Array) -> Array:
    """Sum three rounded peaks over one period: [N, grid]."""
    count = len(period)
    phase = 2 * np.pi * np.arange(_GRID) / _GRID
    table = np.zeros((count, _GRID))
    for _ in range(3):
        centre = rng.uniform(0, 2 * np.pi, (count, 1))
        sharpness = log_uniform(rng, 0.5, 60.0, (count, 1))
        peak = np.exp(sharpness * (np.cos(phase - centre) - 1))
        table += rng.standard_normal((count, 1)) * peak
    return table


def _edges(rng: Random, period: Array) -> Array:
    """Draw a saw or a pulse over one period: [N, grid]."""
    count = len(period)
    phase = np.arange(_GRID) / _GRID
    width = rng.uniform(0.05, 0.6, (count, 1))
    pulse = (phase < width).astype(np.float64)
    saw = np.where(phase < width, phase / width, (1 - phase) / (1 - width))
    return np.where(rng.random((count, 1)) < 0.5, pulse, saw)


def _free(rng: Random, count: int) -> Array:
    """Draw a value for each step of a period, some smooth: [N, longest period]."""
    values = rng.standard_normal((count, _LONGEST + 12))
    values = np.where(rng.random((count, 1)) < 0.15, values**3, values)
    sums = np.cumsum(values, axis=1)
    width = int(rng.integers(2, 12))
    smooth = rng.random((count, 1)) < 0.5
    return np.where(smooth, sums[:, width:] - sums[:, :-width], values[:, width:])[:, :_LONGEST]
