"""Horizons beyond one pass: the median is appended and forecast from, the spread grows on."""

from collections.abc import Callable

import numpy as np

from forecast.models.sprout.context import BLOCK, PATCH, Floats, Integers

Pass = Callable[[Floats, int], Floats]
"""Contexts [N, T] and a horizon, to quantiles [N, Q, H]."""

_MOST_GROWTH = 0.75  # power of the horizon
_LONGEST = 56  # steps in a season, of which the first block shows two


def rolled(once: Pass, contexts: Floats, horizon: int, seasons: Integers) -> Floats:
    """Forecast `horizon` steps, a block at a time: [N, Q, horizon].

    Later blocks have a median of their own. Their spread is that of the last season of the first
    block, growing as a power of the horizon as it did there: with a context that ends in its own
    medians a network would take itself to be certain.

    Args:
        seasons: [N] steps; 1 for none.
    """
    first = once(contexts, min(_whole(horizon), BLOCK))
    if horizon <= BLOCK:
        return first[:, :, :horizon]
    middle = first.shape[1] // 2
    medians = [first[:, middle]]
    for _ in range(BLOCK, horizon, BLOCK):
        block = once(np.concatenate([contexts, *medians], axis=1), BLOCK)
        medians.append(block[:, middle])
    median = np.concatenate(medians[1:], axis=1)[:, None, : horizon - BLOCK]
    apart = _grown(first - first[:, middle : middle + 1], seasons, horizon)
    return np.concatenate([first, median + apart], axis=2)


def _whole(horizon: int) -> int:
    return -(-horizon // PATCH) * PATCH


def _grown(apart: Floats, seasons: Integers, horizon: int) -> Floats:
    """Continue distances from the median [N, Q, BLOCK] to the horizon: [N, Q, horizon - BLOCK].

    A step has the distances of the one in the last season of the block that has its phase,
    times the growth since. Without a season it has the mean of the last steps, or the last.
    """
    season = np.where(seasons <= _LONGEST, seasons, 1)
    window = season * -(-2 * PATCH // season)
    power = _growth(apart, window)[:, None]
    ahead = np.arange(BLOCK, horizon) + 1
    back: Integers = season[:, None] * -(-(ahead - BLOCK) // season[:, None])
    source: Integers = ahead - back
    same_phase = np.take_along_axis(apart, source[:, None] - 1, axis=2)
    seasonal = same_phase * ((ahead / source) ** power)[:, None]
    late = apart[:, :, -2 * PATCH :].mean(axis=2, keepdims=True)
    steady = late * ((ahead / (BLOCK - PATCH)) ** power)[:, None]
    steady = np.where(np.abs(steady) > np.abs(apart[:, :, -1:]), steady, apart[:, :, -1:])
    grown: Floats = np.where(season[:, None, None] > 1, seasonal, steady)
    return grown


def _growth(apart: Floats, window: Integers) -> Floats:
    """Compare the spread of whole seasons late in the first block and early: a power [N]."""
    size = np.abs(apart).mean(axis=1)
    sums = np.concatenate([np.zeros((len(size), 1)), np.cumsum(size, axis=1)], axis=1)
    rows = np.arange(len(size))
    early = sums[rows, PATCH + window] - sums[:, PATCH]
    late = sums[:, BLOCK] - sums[rows, BLOCK - window]
    ratio = np.maximum(late, 1e-300) / np.maximum(early, 1e-300)
    power: Floats = np.log(ratio) / np.log((BLOCK - window / 2) / (PATCH + window / 2))
    return np.clip(power, 0, _MOST_GROWTH)
