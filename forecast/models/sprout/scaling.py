"""Standardisation in float64, before anything is rounded to float32."""

import warnings
from typing import NamedTuple

import numpy as np

from forecast.models.sprout.context import Floats, taken

_FLAT = 1e-12  # of the largest deviation or size, below which a spread is rounding


class Standardised(NamedTuple):
    """Contexts [N, L] of mean 0 and deviation 1; a flat one is 0, and its scale [N] is 0."""

    values: Floats
    centre: Floats
    scale: Floats


def standardise(values: Floats) -> Standardised:
    """Centre each row on its mean and divide by its standard deviation, leaving NaN.

    The median and the largest deviation go first, so that neither squares of huge values
    overflow nor a large offset swallows a small season.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows of nothing but NaN
        median = _median(values)
        apart = values - median
        size = np.nanmax(np.abs(apart), axis=1, keepdims=True)
        flat = ~(size > _FLAT * np.abs(median))
        unit = np.where(flat, 1.0, size)
        apart = np.where(flat, 0 * apart, apart / unit)
        mean = np.nanmean(apart, axis=1, keepdims=True)
        deviation = np.nanstd(apart, axis=1, keepdims=True)
    deviation = np.where(deviation > 0, deviation, 1.0)
    scale = np.where(flat, 0.0, unit * deviation)
    return Standardised((apart - mean) / deviation, (median + unit * mean)[:, 0], scale[:, 0])


def _median(values: Floats) -> Floats:
    """Give the median of each row without NaN [N, 1]; NumPy's takes ten times longer."""
    ordered = np.sort(values, axis=1)  # NaN last
    count = np.maximum((~np.isnan(values)).sum(axis=1, keepdims=True), 1)
    low, high = (taken(ordered, place) for place in ((count - 1) // 2, count // 2))
    median: Floats = low + (high - low) / 2
    return median
