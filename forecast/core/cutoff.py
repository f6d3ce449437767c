"""The one function that cuts data in time: what it gives holds nothing after the cutoff.

Everything that must not look ahead (training, snapshots, backtests, forecasts "as of" a day)
cuts here and hands on what is left.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date

import numpy as np

from forecast.core.clock import to_utc
from forecast.core.errors import InvalidRequest
from forecast.core.types import CovariateArray, Series


def end_of(day: date) -> np.datetime64:
    """Name the last second of a day, in UTC."""
    return np.datetime64(day, "D") + np.timedelta64(86_399, "s")


def steps_until(series: Series, cutoff: np.datetime64) -> int:
    """Count the steps of a series that lie at or before a cutoff.

    Raises:
        InvalidRequest: the series does not say when its steps are.
    """
    times = series.past_timestamps
    if times is None:
        raise InvalidRequest(
            f"{series.item_id!r} has no times, so nothing can be cut at {_text(cutoff)};"
            " send start and freq, or timestamps"
        )
    times = to_utc(times, series.clock)
    return int(np.searchsorted(times, cutoff.astype("datetime64[s]"), side="right"))


def cut(series: Series, cutoff: np.datetime64, *, horizon: int = 0) -> Series | None:
    """Keep the steps at or before a cutoff; None where there are none.

    Args:
        horizon: steps after the cutoff for which covariates that are known ahead are kept, to
            forecast with; 0, for training, keeps nothing of them after the cutoff.

    Raises:
        InvalidRequest: the series does not say when its steps are.
    """
    kept = steps_until(series, cutoff)
    return first_steps(series, kept, horizon=horizon) if kept else None


def cut_all(series: Iterable[Series], cutoff: np.datetime64) -> list[Series]:
    """Cut each series, and leave out those that begin after the cutoff."""
    return [part for one in series if (part := cut(one, cutoff)) is not None]


def first_steps(series: Series, steps: int, *, horizon: int = 0) -> Series:
    """Keep the first steps of a series; the rest of what is known ahead becomes the future."""
    if steps >= series.length and horizon:
        return series
    past = series.past_covariates
    return replace(
        series,
        target=series.target[:, :steps],
        past_covariates={name: values[:steps] for name, values in past.items()},
        future_covariates={
            name: _ahead(past[name], future, steps, horizon)
            for name, future in series.future_covariates.items()
        },
    )


def _ahead(
    past: CovariateArray, future: CovariateArray, steps: int, horizon: int
) -> CovariateArray:
    return np.concatenate([past[steps:], future])[:horizon]


def _text(cutoff: np.datetime64) -> str:
    return str(cutoff.astype("datetime64[D]"))
