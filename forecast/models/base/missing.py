"""Missing values filled in, for models that cannot take them."""

import numpy as np

from forecast.core.errors import BadData
from forecast.core.types import FloatArray

_MUCH = 0.2  # of all values


def invented(target: FloatArray) -> tuple[str, ...]:
    """Warn where many values of a target [C, T] are missing and so will be interpolated."""
    missing = np.isnan(trimmed(target))
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


def trimmed(values: FloatArray) -> FloatArray:
    """Drop the leading steps [C, T] in which no channel is observed."""
    observed = ~np.isnan(values).all(axis=0)
    return values[:, int(observed.argmax()) :]
