"""Quantiles for models that make point forecasts only, from the errors they made before.

All of it is split conformal prediction with absolute errors (Vovk, Gammerman & Shafer 2005;
Lei et al. 2018, arXiv:1604.04173). Of n errors r_1 ≤ … ≤ r_n the radius that covers a share
c of what is to come is r_k with k = ⌈(n + 1) c⌉, and the quantile at level τ is

    point + sign(τ - ½) · radius(|2τ - 1|),

so the median is the point forecast and quantiles never cross. Beyond the largest error (k > n)
the radius is max(r_n, √mean(r²) · Φ⁻¹((1 + c) / 2)), as if errors were Gaussian.

Errors come from one of two places: `ConformalCalibration` from the validation split of a
training, step by step, relative to the scale of the series; `past_errors` from forecasts that
the model makes of the series' own past. The coverage that theory promises holds for
exchangeable errors; those of a changing series are not, and it then holds only about.
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from forecast.core.types import FloatArray, Forecast


def conformal_radii(errors: FloatArray, coverages: FloatArray) -> FloatArray:
    """Find the radii [..., K] that cover shares of future errors.

    Args:
        errors: [..., n], of any sign; NaN is no error. Without any the radius is 0.
        coverages: [K], each in [0, 1).
    """
    ordered = np.sort(np.abs(errors), axis=-1)  # NaN last
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)  # [..., 1]
    filled = np.nan_to_num(ordered)
    padded = np.concatenate([np.zeros((*filled.shape[:-1], 1)), filled], axis=-1)
    rank = np.ceil((count + 1) * coverages - 1e-9).astype(np.int64)  # [..., K]
    found = np.take_along_axis(padded, np.minimum(rank, count), axis=-1)
    spread = np.sqrt((filled**2).sum(axis=-1, keepdims=True) / np.maximum(count, 1))
    gaussian = _gaussian(coverages)
    radii: FloatArray = np.where(rank > count, np.maximum(found, spread * gaussian), found)
    return radii


def conformal_offsets(errors: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Return the offsets [..., Q] from a point forecast to its quantiles, from signed errors.

    Each side is split conformal on its own (Romano, Patterson & Candès 2019, arXiv:1905.03222):
    of n errors e_1 ≤ … ≤ e_n the offset at a level τ > ½ is e_k with k = ⌈(n + 1) τ⌉, and the one
    at τ < ½ mirrors it. Beyond the outermost error the offset is that of a Gaussian with the root
    mean square of the errors, or the outermost error where that is larger. Offsets below ½ are
    never positive and offsets above ½ never negative, so an interval contains its own point.

    Args:
        errors: [..., n], actual minus forecast; NaN is no error. Without any, offsets are 0.
        levels: [Q], each in (0, 1).
    """
    asked = np.asarray(levels, dtype=float)
    upper = _one_sided(errors, np.maximum(asked, 1 - asked))
    lower = -_one_sided(-np.asarray(errors), np.maximum(asked, 1 - asked))
    side = np.sign(np.round(asked - 0.5, 12))
    offsets: FloatArray = np.where(
        side > 0, np.maximum(upper, 0.0), np.where(side < 0, np.minimum(lower, 0.0), 0.0)
    )
    return offsets


def _one_sided(errors: FloatArray, levels: FloatArray) -> FloatArray:
    """Return the upper conformal bounds [..., Q] of errors [..., n] at levels of at least ½."""
    ordered = np.sort(np.asarray(errors, dtype=float), axis=-1)  # NaN last
    count = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    filled = np.nan_to_num(ordered)
    padded = np.concatenate([np.zeros((*filled.shape[:-1], 1)), filled], axis=-1)
    rank = np.ceil((count + 1) * levels - 1e-9).astype(np.int64)
    found = np.take_along_axis(padded, np.minimum(rank, count), axis=-1)
    spread = np.sqrt((filled**2).sum(axis=-1, keepdims=True) / np.maximum(count, 1))
    gaussian = np.array([NormalDist().inv_cdf(level) for level in levels])
    bounds: FloatArray = np.where(rank > count, np.maximum(found, spread * gaussian), found)
    return bounds


def coverages_of(levels: Sequence[float]) -> FloatArray:
    """Name the share that the interval between a level and its mirror image covers: [Q]."""
    covered: FloatArray = np.abs(2 * np.asarray(levels, dtype=float) - 1)
    return covered


def _gaussian(coverages: FloatArray) -> FloatArray:
    """Find the radii of a standard Gaussian."""
    radii: FloatArray = np.array([NormalDist().inv_cdf((1 + share) / 2) for share in coverages])
    return radii


def calibrated(point: FloatArray, radii: FloatArray, levels: Sequence[float]) -> Forecast:
    """Put quantiles around a point forecast.

    Args:
        point: [C, H].
        radii: [C, Q, H], not below 0, of the coverages of the Q levels.
    """
    side = np.sign(np.round(np.asarray(levels, dtype=float) - 0.5, 12))[None, :, None]
    return Forecast(point, point[:, None].astype(float) + side * radii, tuple(levels))


def scale_of(context: FloatArray) -> FloatArray:
    """Measure the standard deviation of the observed values: [..., T] → [...]; 0 without any."""
    observed = ~np.isnan(context)
    count = np.maximum(observed.sum(axis=-1), 1)
    values = np.nan_to_num(context.astype(float))
    mean = values.sum(axis=-1) / count
    off = np.where(observed, values - mean[..., None], 0.0)
    _, exponent = np.frexp(np.abs(off).max(axis=-1, initial=0.0))
    unit = np.ldexp(1.0, exponent)  # squares of 1e-300 would be 0
    squares = (off / unit[..., None]) ** 2
    scale: FloatArray = unit * np.sqrt(squares.sum(axis=-1) / count)
    return scale
