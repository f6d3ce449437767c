"""Spreads for contexts that hold nothing but one value, a few times."""

from statistics import NormalDist

import numpy as np

from forecast.models.sprout.context import Floats
from forecast.models.sprout.tails import LEVELS

_MOST = 10  # equal values that are few; more make a constant
_SHARE = 0.25  # of the value, that one such value is taken to deviate by
_OF_ZERO = 1.0  # that a zero is taken to deviate by: it names no unit

WARNING = (
    "too few different values to tell the spread; the intervals assume a quarter of the value,"
    " or 1 where it is 0"
)


def are_too_few(values: Floats) -> bool:
    """Whether a context [T] is ten equal values or fewer."""
    observed = values[~np.isnan(values)]
    return len(observed) <= _MOST and bool((observed == observed[0]).all())


def spread_of_few(values: Floats, horizon: int) -> Floats:
    """Give distances from the median [Q, H] for such a context; less for each repetition."""
    observed = values[~np.isnan(values)]
    scale = (_SHARE * abs(float(observed[0])) or _OF_ZERO) / len(observed)
    normal = NormalDist()
    apart = np.array([normal.inv_cdf(level) for level in LEVELS])
    return scale * apart[:, None] * np.sqrt(np.arange(1, horizon + 1))
