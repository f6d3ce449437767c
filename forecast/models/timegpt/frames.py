"""Series → the tables that the client of TimeGPT reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from forecast.core.types import CovariateArray, Series, is_categorical
from forecast.models.base.scaling import interpolate, without_leading_gap

ITEM, TIME, TARGET = "unique_id", "ds", "y"


@dataclass(frozen=True, slots=True)
class Tables:
    """A batch of one frequency and layout; series are numbered, covariates renamed.

    Attributes:
        past: a row a step, leading steps without a value left out.
        future: a row a step to forecast with what is known ahead; None where nothing is.
        past_only: columns of the covariates that are not known ahead.
        categorical: columns that are text.
        freq: a pandas alias, or 1 where time is not known and steps are counted.
    """

    past: pd.DataFrame
    future: pd.DataFrame | None
    past_only: list[str]
    categorical: list[str]
    freq: str | int


def tables_of(batch: Sequence[Series], horizon: int) -> Tables:
    """Write series of one frequency and one layout of covariates side by side."""
    first = batch[0]
    past = first.past_covariates
    columns = {name: f"x{place}" for place, name in enumerate(sorted(past))}
    kept = [one.last(without_leading_gap(one.target).shape[1]) for one in batch]
    future = None
    if first.future_covariates:
        future = pd.concat(
            [_future(one, number, columns, horizon) for number, one in enumerate(kept)],
            ignore_index=True,
        )
    return Tables(
        past=pd.concat(
            [_past(one, number, columns) for number, one in enumerate(kept)], ignore_index=True
        ),
        future=future,
        past_only=[columns[name] for name in columns if name not in first.future_covariates],
        categorical=[columns[name] for name, values in past.items() if is_categorical(values)],
        freq=1 if first.start is None or first.freq is None else first.freq.alias,
    )


def _past(series: Series, number: int, columns: dict[str, str]) -> pd.DataFrame:
    times = series.past_timestamps
    return pd.DataFrame(
        {
            ITEM: number,
            TIME: np.arange(series.length) if times is None else times,
            TARGET: interpolate(series.target)[0],
            **{columns[name]: _filled(past) for name, past in series.past_covariates.items()},
        }
    )


def _future(series: Series, number: int, columns: dict[str, str], horizon: int) -> pd.DataFrame:
    times = series.future_timestamps(horizon)
    steps = series.length + np.arange(horizon)
    known = {columns[name]: _filled(ahead) for name, ahead in series.future_covariates.items()}
    return pd.DataFrame({ITEM: number, TIME: steps if times is None else times, **known})


def _filled(values: CovariateArray) -> CovariateArray:
    """Fill gaps of a numeric covariate [T]; one that is never observed says nothing, as 0."""
    if is_categorical(values):
        return values.astype(object)
    return interpolate(values) if np.isfinite(values).any() else np.zeros(len(values))
