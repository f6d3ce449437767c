"""Standardisation of series, and the gaps and padding that come with it.

A network that computes in float32 keeps seven digits: a series of 1.7e9 that moves by ones is a
constant to it. So whatever a network reads is standardised in float64 first.
"""

from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar

import numpy as np

from forecast.core.errors import BadData
from forecast.core.types import CovariateArray, FloatArray, Series, is_categorical

ONE_VALUE = (
    "the series has one observed value, which says nothing of its spread;"
    " its quantiles are the point forecast"
)
FLAT = 1e-12
"""Rows whose standard deviation is at most this share of their mean differ by rounding only."""
_MUCH = 0.2  # of all values

Array = TypeVar("Array")
"""A NumPy array or a torch tensor."""


@dataclass(frozen=True, slots=True, eq=False)
class Scaler(Generic[Array]):
    """Mean and standard deviation of rows, and the way there and back.

    Attributes:
        center: [..., 1].
        scale: [..., 1]; 0 for a flat row, whose forecast is its mean.
    """

    center: Array
    scale: Array

    @classmethod
    def of(cls, values: Array, observed: Array | None = None) -> Self:
        """Measure rows [..., T], whatever their unit: a flat row is flat in any.

        Args:
            observed: [..., T] bool; None counts every value but NaN.
        """
        rows, xp = _in_float64(values)
        seen: Any = rows == rows if observed is None else observed
        count = seen.sum(-1)[..., None]
        count = xp.where(count > 0, count, 1)
        center = xp.where(seen, rows, 0.0).sum(-1)[..., None] / count
        off = xp.where(seen, rows - center, 0.0)
        _, exponent = xp.frexp(xp.amax(xp.abs(off), -1)[..., None])
        unit = xp.ldexp(xp.ones_like(center), exponent)  # squares of 1e-300 would be 0
        scale = unit * xp.sqrt(((off / unit) ** 2).sum(-1)[..., None] / count)
        flat = scale <= max(FLAT, 8 * _precision(rows, xp)) * xp.abs(center)
        return cls(center, xp.where(flat, 0.0, scale))

    def apply(self, values: Array) -> Array:
        """Standardise rows [..., T] in float64; flat rows are only moved to 0."""
        given, center, scale = (_in_float64(one)[0] for one in (values, self.center, self.scale))
        standard: Array = (given - center) / (scale + (scale == 0))
        return standard

    def restore(self, forecast: Array) -> Array:
        """Bring forecasts [..., H], or quantiles [..., Q, H], back to their unit in float64."""
        made, center, scale = (_in_float64(one)[0] for one in (forecast, self.center, self.scale))
        between = (1,) * (made.ndim - center.ndim)
        center, scale = (one.reshape(*one.shape, *between) for one in (center, scale))
        restored: Array = made * scale + center
        return restored


def standardize(values: Array, observed: Array | None = None) -> tuple[Array, Scaler[Array]]:
    """Standardise rows [..., T] by what is observed of them, in float64."""
    scaler = Scaler.of(values, observed)
    return scaler.apply(values), scaler


def _in_float64(values: Any) -> tuple[Any, Any]:
    """Widen an array or a tensor, and return the library that it is of; MPS has float32 only."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float64, copy=False), np
    import torch  # only where a tensor came from

    return (values if values.device.type == "mps" else values.double()), torch


def _precision(rows: Any, xp: Any) -> float:
    return float(xp.finfo(rows.dtype).eps) if rows.dtype == xp.float32 else 0.0


def standardised(series: Series, scaler: Scaler[FloatArray] | None = None) -> Series:
    """Standardise the target and the numeric covariates of a training series.

    Covariates keep no future: training windows are cut from the past.

    Args:
        scaler: of the target; None for its own mean and standard deviation.
    """
    past = {name: _alone(values) for name, values in series.past_covariates.items()}
    target = (scaler or Scaler.of(series.target)).apply(series.target)
    return replace(series, target=target, past_covariates=past, future_covariates={})


def _alone(values: CovariateArray) -> CovariateArray:
    if is_categorical(values):
        return values
    return standardize(np.asarray(values, dtype=float))[0]


def spread_warnings(series: Series) -> tuple[str, ...]:
    """Warn where a channel has one value, from which no spread can be told."""
    fewest = (~np.isnan(series.target)).sum(axis=1).min()
    return (ONE_VALUE,) if fewest < 2 else ()


def pad_start(values: FloatArray, steps: int) -> FloatArray:
    """Pad [K, T] with NaN at the start, to at least `steps`."""
    lacking = max(0, steps - values.shape[-1])
    return np.pad(values, ((0, 0), (lacking, 0)), constant_values=np.nan) if lacking else values


def fill_warnings(target: FloatArray) -> tuple[str, ...]:
    """Warn where many values of a target [C, T] are missing and so will be interpolated."""
    missing = np.isnan(without_leading_gap(target))
    if missing.mean() <= _MUCH:
        return ()
    count, steps = int(missing.sum()), missing.size
    share = round(100 * count / steps)
    return (f"{count} of {steps} past values ({share} %) are missing and were filled in",)


def interpolate(values: FloatArray) -> FloatArray:
    """Fill every NaN along the last axis; each row on its own.

    Between two observed steps on the straight line through them; before the first and
    after the last, the nearest observed value.

    Args:
        values: [..., T]: one covariate, or a target [C, T].

    Returns:
        [..., T] of the same dtype; `values` itself where nothing is missing.

    Raises:
        BadData: a row holds no observed value.
    """
    missing = np.isnan(values)
    if not missing.any():
        return values
    filled = values.copy()
    steps = np.arange(values.shape[-1])
    for row in np.ndindex(values.shape[:-1]):
        gaps = missing[row]
        if gaps.all():
            raise BadData("nothing is observed in the steps used; lengthen context_length")
        filled[row][gaps] = np.interp(steps[gaps], steps[~gaps], values[row][~gaps])
    return filled


def completed(values: FloatArray, season: int) -> FloatArray:
    """Fill gaps on a straight line between seasonally adjusted neighbours.

    The season is the mean of each of its steps; a season with a step that was never observed is
    left alone.
    """
    missing = np.isnan(values)
    if not missing.any():
        return values
    if season < 2 or len(values) < 2 * season:
        return interpolate(values)
    padded = np.full(-(-len(values) // season) * season, np.nan)
    padded[: len(values)] = values - np.nanmean(values)
    cycles = padded.reshape(-1, season)
    counts = (~np.isnan(cycles)).sum(axis=0)
    if not counts.all():
        return interpolate(values)
    profile = np.resize(np.nansum(cycles, axis=0) / counts, len(values))
    filled: FloatArray = interpolate(values - profile) + profile
    return filled


def trailing_gap(target: FloatArray) -> int:
    """Count the steps at the end [C, T] in which no channel is observed."""
    observed = np.flatnonzero(~np.isnan(target).all(axis=0))
    return int(target.shape[1] - 1 - observed.max(initial=-1))


def without_leading_gap(values: FloatArray) -> FloatArray:
    """Drop the leading steps [C, T] in which no channel is observed."""
    observed = ~np.isnan(values).all(axis=0)
    return values[:, int(observed.argmax()) :]
