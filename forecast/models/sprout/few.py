"""Spreads for contexts that hold nothing but one value, a few times."""

from statistics import NormalDist

import numpy as np

from forecast.models.sprout.context import Floats
from forecast.models.sprout.tails import LEVELS

_ENOUGH = 8  # equal values that make a constant
_SHARE = 0.25  # of the value, that one such value is taken to deviate by

WARNING = "too few different values to tell the spread; the intervals assume a quarter of the value"


def are_too_few(values: Floats) -> bool:
    """Whether a context [T] is fewer than 8 equal values."""
    observed = values[~np.isnan(values)]
    return len(observed) < _ENOUGH and bool((observed == observed[0]).all())


def spread_of_few(values: Floats, horizon: int) -> Floats:
    """Give distances from the median [Q, H] for such a context; less for each repetition."""
    observed = values[~np.isnan(values)]
    scale = _SHARE * abs(float(observed[0])) / len(observed)
    normal = NormalDist()
    apart = np.array([normal.inv_cdf(level) for level in LEVELS])
    return scale * apart[:, None] * np.sqrt(np.arange(1, horizon + 1))
