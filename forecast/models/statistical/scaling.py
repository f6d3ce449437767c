"""A series brought to mean 0 and deviation 1 before any library sees it, in float64."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from forecast.core.types import FloatArray

_LOST = 1e-13  # a deviation below it, relative to the level, is rounding error
_FAR = 100.0  # a level so many deviations away is taken off even where signs matter


@dataclass(frozen=True, slots=True)
class Scaler:
    """What was taken off and divided by.

    Attributes:
        unit: a power of two near the largest magnitude, divided by first and exactly: squares
            of 1e237 overflow, those of 1e-250 vanish.
        center: taken off, in that unit.
        scale: divided by, in that unit.
    """

    unit: float = 1.0
    center: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, values: FloatArray, *, keep_sign: bool = False) -> Self:
        """Measure observed values [n].

        Args:
            keep_sign: divide alone where all values are positive and the level matters, for
                methods that multiply.
        """
        largest = float(np.abs(values).max())
        if largest == 0:
            return cls()
        unit = 2.0 ** min(math.frexp(largest)[1], 1023)
        shares = values / unit
        center, scale = float(shares.mean()), float(shares.std())
        if scale <= _LOST * abs(center) or np.ptp(shares) == 0:
            return cls(unit)
        if keep_sign and shares.min() > 0 and center < _FAR * scale:
            return cls(unit, 0.0, center)
        return cls(unit, center, scale)

    def apply(self, values: FloatArray) -> FloatArray:
        scaled: FloatArray = (values / self.unit - self.center) / self.scale
        return scaled

    def restore(self, values: FloatArray) -> FloatArray:
        restored: FloatArray = (values * self.scale + self.center) * self.unit
        return restored
