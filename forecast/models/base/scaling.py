"""Series near 0 and 1, in float64, for networks that compute in 32 bits."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from forecast.core.types import CovariateArray, FloatArray, Series, is_categorical
from forecast.models.base.calibration import scale_of

ONE_VALUE = (
    "the series has one observed value, which says nothing of its spread;"
    " its quantiles are the point forecast"
)


FLAT = 1e-12
"""A standard deviation up to this share of the level is none: values differ by rounding."""


def left_padded(values: FloatArray, steps: int) -> FloatArray:
    """Pad [., T] with NaN at the start, to so many steps."""
    lacking = steps - values.shape[-1]
    return np.pad(values, ((0, 0), (lacking, 0)), constant_values=np.nan)


def standardisation(target: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Measure mean and standard deviation of what is observed: [..., T] → [..., 1] each.

    A row whose values differ by no more than rounding has a standard deviation of 0, whatever
    its unit.
    """
    count = np.maximum((~np.isnan(target)).sum(axis=-1, keepdims=True), 1)
    level = np.nansum(target, axis=-1, keepdims=True) / count
    scale = scale_of(target - level)[..., None]
    flat = scale <= FLAT * np.abs(level)
    return level, np.where(flat, 0.0, scale)


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Level and scale of C rows, [C, 1] each, and the way there and back.

    A network that computes in float32 keeps seven digits: a series of 1.7e9 that moves by ones
    is a constant to it. The scale of a constant is 0: its forecast is the constant.
    """

    level: FloatArray
    scale: FloatArray

    @classmethod
    def of(cls, values: FloatArray) -> Self:
        """Measure rows [C, T]; NaN is missing."""
        return cls(*standardisation(values))

    def apply(self, values: FloatArray) -> FloatArray:
        """Standardise rows [C, T]; rows of a constant are only moved to 0."""
        standard: FloatArray = (values - self.level) / np.where(self.scale > 0, self.scale, 1.0)
        return standard

    def restore(self, forecast: FloatArray) -> FloatArray:
        """Bring forecasts [C, H], or quantiles [C, Q, H], back to their unit, in float64."""
        level, scale = (
            one.reshape(len(one), *[1] * (forecast.ndim - 1)) for one in (self.level, self.scale)
        )
        restored: FloatArray = forecast.astype(np.float64) * scale + level
        return restored


def standardised(series: Series, scaling: Scaling | None = None) -> Series:
    """Bring the target and the numeric covariates of a training series near 0 and 1.

    Covariates keep no future: training windows are cut from the past.

    Args:
        scaling: of the target; None for mean and standard deviation.
    """
    past = {name: _alone(values) for name, values in series.past_covariates.items()}
    target = (scaling or Scaling.of(series.target)).apply(series.target)
    return replace(series, target=target, past_covariates=past, future_covariates={})


def _alone(values: CovariateArray) -> CovariateArray:
    if is_categorical(values):
        return values
    row = np.asarray(values, dtype=float)[None]
    alone: FloatArray = Scaling.of(row).apply(row)[0]
    return alone


def spread_warnings(series: Series) -> tuple[str, ...]:
    """Say so where a channel has one value, from which no spread can be told."""
    fewest = (~np.isnan(series.target)).sum(axis=1).min()
    return (ONE_VALUE,) if fewest < 2 else ()
