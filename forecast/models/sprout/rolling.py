"""Horizons beyond one pass: the median is appended and forecast from, the spread grows on."""

from collections.abc import Callable

import numpy as np

from forecast.models.sprout.context import BLOCK, PATCH, Floats

Pass = Callable[[Floats, int], Floats]
"""Contexts [N, T] and a horizon, to quantiles [N, Q, H]."""

_MOST_GROWTH = 0.75  # power of the horizon


def rolled(once: Pass, contexts: Floats, horizon: int) -> Floats:
    """Forecast `horizon` steps, a block at a time: [N, Q, horizon].

    A later block has its own median and the shape of its own spread. The size of the spread is
    that of the end of the first block, growing as a power of the horizon as it did there: with
    a context that ends in its own medians a network would take itself to be certain.
    """
    first = once(contexts, min(_whole(horizon), BLOCK))
    if horizon <= BLOCK:
        return first[:, :, :horizon]
    middle = first.shape[1] // 2
    medians, blocks = [first[:, middle]], [first]
    apart = first - first[:, middle : middle + 1]
    growth, width = _growth(apart)
    for done in range(BLOCK, horizon, BLOCK):
        block = once(np.concatenate([contexts, *medians], axis=1), BLOCK)
        median = block[:, middle]
        ahead = (np.arange(done, done + BLOCK) + 1) / (BLOCK - PATCH)
        shape = _shape(block - median[:, None])
        size = width[:, :, None] * ahead ** growth[:, None, None]
        blocks.append(median[:, None] + shape * size)
        medians.append(median)
    return np.concatenate(blocks, axis=2)[:, :, :horizon]


def _whole(horizon: int) -> int:
    return -(-horizon // PATCH) * PATCH


def _growth(apart: Floats) -> tuple[Floats, Floats]:
    """Measure how the spread grows within the first block, and how large it is.

    Returns:
        the power of the horizon [N], and the mean distance from the median [N, Q]: that at the
        end, or that of the whole block where it is more.
    """
    early, late = slice(PATCH, 3 * PATCH), slice(BLOCK - 2 * PATCH, BLOCK)
    sizes = [np.abs(apart[:, :, part]).mean(axis=(1, 2)) for part in (early, late)]
    ratio = np.maximum(sizes[1], 1e-300) / np.maximum(sizes[0], 1e-300)
    power = np.log(ratio) / np.log((BLOCK - PATCH) / (2 * PATCH))
    means = np.stack([apart[:, :, late].mean(axis=2), apart.mean(axis=2)])
    widest = np.take_along_axis(means, np.abs(means).argmax(axis=0)[None], axis=0)[0]
    return np.clip(power, 0, _MOST_GROWTH), widest


def _shape(apart: Floats) -> Floats:
    """Divide the distances from the median by their mean over the block, at each level."""
    mean = np.abs(apart).mean(axis=2, keepdims=True)
    return np.where(mean > 0, np.abs(apart) / np.where(mean > 0, mean, 1), 1.0)
