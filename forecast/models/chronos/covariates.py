"""Covariates as the rows that Chronos-2 reads beside the target."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from forecast.core.errors import InvalidRequest
from forecast.core.types import CovariateArray, FloatArray, Series, is_categorical
from forecast.models.base.scaling import Scaler, interpolate
from forecast.models.base.torch.training import Batch
from forecast.models.chronos.network import Array32, float32, with_gaps

Codes = npt.NDArray[np.intp]


def rows(series: Series, horizon: int) -> tuple[Array32, Array32]:
    """Stack a series' channels, its past-only and its known covariates, each standardised.

    Each series is encoded on its own. The authors number the categories of a multivariate
    batch over the whole batch, which would make an answer depend on its company.

    Returns:
        past [R, T] and future [R, H], NaN where it is not known.
    """
    target = Scaler.of(series.target).apply(series.target)
    past = [*float32(target)]
    future = [np.full(horizon, np.nan, np.float32)] * len(target)
    known = series.future_covariates
    for name in sorted(series.past_covariates, key=lambda name: (name in known, name)):
        before, after = _encoded(series.past_covariates[name], known.get(name), target)
        past.append(before)
        future.append(future[0] if after is None else after)
    return np.stack(past), np.stack(future)


def for_training(
    series: Sequence[Series], known_ahead: Sequence[str]
) -> tuple[list[Series], list[str]]:
    """Name the covariates so that those known ahead come last, and fill their gaps.

    Args:
        series: all of one layout.
        known_ahead: names known for the future, beside those that come with future values.

    Returns:
        The series, and the new names of those known ahead.

    Raises:
        InvalidRequest: a covariate is text, or a name is none of them.
    """
    first = series[0]
    known = {*first.future_covariates, *known_ahead}
    if unknown := known - set(first.past_covariates):
        raise InvalidRequest(
            f"known_ahead names {', '.join(sorted(unknown))}, which is no covariate of the"
            " series to learn from"
        )
    if text := [name for name, one in first.past_covariates.items() if is_categorical(one)]:
        raise InvalidRequest(
            f"the covariates {', '.join(sorted(text))} are text, which this model uses but does"
            " not learn from; leave them out, or send numbers in their place"
        )
    names = {name: f"{int(name in known)} {name}" for name in first.past_covariates}
    prepared = [
        replace(
            one,
            past_covariates={
                names[name]: interpolate(values) for name, values in one.past_covariates.items()
            },
            future_covariates={},
        )
        for one in series
    ]
    return prepared, sorted(names[name] for name in known)


def training_rows(batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Stack the rows of training windows: C channels, then covariates, known ones last.

    What is known ahead stands in the last rows of a batch, because it is named last.

    Returns:
        past [B, R, T], future [B, R, H] and target [B, R, H]; NaN where it is not known, and
        the target of a covariate, which nothing is learned of.
    """
    past = with_gaps(batch.past, batch.past_observed)
    begun = batch.past_observed.any(dim=1, keepdim=True).cummax(dim=-1).values
    beside = with_gaps(batch.past_covariates, begun.expand_as(batch.past_covariates))
    target = with_gaps(batch.future, batch.future_observed)
    rows, known = past.shape[1] + beside.shape[1], batch.future_covariates.shape[1]
    nothing = torch.full_like(target[:, :1], torch.nan)
    future = [nothing.expand(-1, rows - known, -1), batch.future_covariates]
    unlearned = nothing.expand(-1, beside.shape[1], -1)
    return (
        torch.cat([past, beside], dim=1),
        torch.cat(future, dim=1),
        torch.cat([target, unlearned], dim=1),
    )


def _encoded(
    past: CovariateArray, future: CovariateArray | None, target: FloatArray
) -> tuple[Array32, Array32 | None]:
    if not is_categorical(past):
        scaling = Scaler.of(past[None].astype(float))
        before = float32(scaling.apply(past[None])[0])
        return before, None if future is None else float32(scaling.apply(future[None])[0])
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


def _values(codes: Codes, count: int, target: FloatArray) -> Array32:
    """Give each of `count` categories, and a new one, a number: [count + 1].

    For one channel the mean of the target under it, drawn towards the overall mean by one
    observation (Micci-Barreca 2001); for several channels its place, and NaN for a new one.
    """
    if len(target) > 1:
        return np.append(np.arange(count), np.nan).astype(np.float32)
    seen = np.isfinite(target[0])
    observed = target[0][seen]
    sums = np.bincount(codes[seen], weights=observed, minlength=count + 1)
    counts = np.bincount(codes[seen], minlength=count + 1)
    return float32((observed.mean() + sums) / (1 + counts))
