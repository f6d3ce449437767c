"""Covariates as the rows that Chronos-2 reads beside the target."""

import numpy as np
import numpy.typing as npt

from forecast.core.types import CovariateArray, Series, is_categorical
from forecast.models.chronos.network import Array32, float32

Codes = npt.NDArray[np.intp]


def rows(series: Series, horizon: int) -> tuple[Array32, Array32]:
    """Stack a series' channels, its past-only and its known covariates.

    Each series is encoded on its own. The authors number the categories of a multivariate
    batch over the whole batch, which would make an answer depend on its company.

    Returns:
        past [R, T] and future [R, H], NaN where it is not known.
    """
    target = float32(series.target)
    past = [*target]
    future = [np.full(horizon, np.nan, np.float32)] * len(target)
    known = series.future_covariates
    for name in sorted(series.past_covariates, key=lambda name: (name in known, name)):
        before, after = _encoded(series.past_covariates[name], known.get(name), target)
        past.append(before)
        future.append(future[0] if after is None else after)
    return np.stack(past), np.stack(future)


def _encoded(
    past: CovariateArray, future: CovariateArray | None, target: Array32
) -> tuple[Array32, Array32 | None]:
    if not is_categorical(past):
        return float32(past), None if future is None else float32(future)
    categories, codes = np.unique(past.astype(str), return_inverse=True)
    values = _values(codes, len(categories), target)
    if future is None:
        return values[codes], None
    return values[codes], values[_positions(future.astype(str), categories)]


def _positions(values: CovariateArray, categories: CovariateArray) -> Codes:
    """Number categories by their place in the sorted ones; a new one comes after the last."""
    places = np.searchsorted(categories, values)
    found = categories[np.minimum(places, len(categories) - 1)] == values
    return np.where(found, places, len(categories))


def _values(codes: Codes, count: int, target: Array32) -> Array32:
    """Give each of `count` categories, and a new one, a number: [count + 1].

    For one channel the mean of the target under it, drawn towards the overall mean by one
    observation (Micci-Barreca 2001); for several channels its place, and NaN for a new one.
    """
    if len(target) > 1:
        return np.append(np.arange(count), np.nan).astype(np.float32)
    seen = np.isfinite(target[0])
    observed = target[0][seen].astype(np.float64)
    sums = np.bincount(codes[seen], weights=observed, minlength=count + 1)
    counts = np.bincount(codes[seen], minlength=count + 1)
    return float32((observed.mean() + sums) / (1 + counts))
