"""Quantiles beyond the outer deciles, which the network does not forecast."""

import numpy as np

from forecast.models.sprout.context import Floats
from forecast.models.sprout.forward import COVERAGES
from forecast.models.sprout.forward import LEVELS as DECILES

_BELOW = tuple(round((1 - coverage) / 2, 4) for coverage in reversed(COVERAGES[1:]))

LEVELS = (*_BELOW, *DECILES, *(round(1 - level, 4) for level in reversed(_BELOW)))


def with_tails(deciles: Floats, stretch: Floats) -> Floats:
    """Add the quantiles that lie beyond the outer deciles [N, 9, H], as far as errors lay.

    Args:
        stretch: of the distances from the median to the outer deciles, for each of COVERAGES.
    """
    middle = deciles[:, 4:5]
    further = (stretch[1:] / stretch[0])[:, None]
    below = middle + (deciles[:, :1] - middle) * further[::-1]
    above = middle + (deciles[:, -1:] - middle) * further
    extended: Floats = np.concatenate([below, deciles, above], axis=1)
    return extended
