"""The baseline forecasts that a backtest compares every model with."""

from collections.abc import Callable, Mapping
from statistics import NormalDist

import numpy as np

from forecast.core.types import FloatArray, Forecast, ForecastTask, Series


def random_walk(series: Series, task: ForecastTask) -> Forecast:
    """Forecast no change: the newest value observed.

    The quantiles are normal, σ √h wide at step h with σ² the mean squared step (Hyndman &
    Athanasopoulos, FPP3, 5.2 and 5.5).
    """
    return _naive(series, task, season=1)


def seasonal_naive(series: Series, task: ForecastTask) -> Forecast:
    """Forecast each step by the newest value observed a whole number of seasons before it.

    The quantiles are normal, σ √(k + 1) wide with k whole seasons since the last one known and
    σ² the mean squared difference between neighbouring seasons (FPP3, 5.2 and 5.5). A series
    shorter than two seasons is repeated from its last value.
    """
    season = series.season_length if series.length >= 2 * series.season_length else 1
    return _naive(series, task, season)


def historic_average(series: Series, task: ForecastTask) -> Forecast:
    """Forecast the mean of what was observed.

    The quantiles are normal, σ √(1 + 1/T) wide with σ the standard deviation of the T values
    observed (FPP3, 5.2 and 5.5).
    """
    observed = ~np.isnan(series.target)
    count = np.maximum(observed.sum(axis=1), 1)
    level = np.nansum(series.target, axis=1) / count
    squares = np.nansum((series.target - level[:, None]) ** 2, axis=1)
    width = np.sqrt(squares / np.maximum(count - 1, 1) * (1 + 1 / count))
    steps = np.ones(task.horizon)
    return _normal(level[:, None] * steps, width[:, None] * steps, task)


BASELINES: Mapping[str, Callable[[Series, ForecastTask], Forecast]] = {
    "random_walk": random_walk,
    "seasonal_naive": seasonal_naive,
    "historic_average": historic_average,
}


def _naive(series: Series, task: ForecastTask, season: int) -> Forecast:
    steps = np.arange(task.horizon)
    known = np.stack([_last_season(channel, season) for channel in series.target])  # [C, m]
    widths = _spread(series.target, season)[:, None] * np.sqrt(steps // season + 1)
    return _normal(known[:, steps % season], widths, task)


def _normal(mean: FloatArray, widths: FloatArray, task: ForecastTask) -> Forecast:
    """Put normal quantiles around [C, H], with standard deviations [C, H]."""
    scores = np.array([NormalDist().inv_cdf(level) for level in task.quantile_levels])
    quantiles = mean[:, None] + scores[:, None] * widths[:, None]  # [C, Q, H]
    return Forecast(mean, quantiles, task.quantile_levels)


def _last_season(channel: FloatArray, season: int) -> FloatArray:
    """Take the newest observed value of each place in the season; of any place if it has none."""
    observed = channel[~np.isnan(channel)]
    newest = observed[-1] if observed.size else np.nan
    places = [channel[len(channel) - season + place :: -season] for place in range(season)]
    there = [values[~np.isnan(values)] for values in places]
    return np.array([values[0] if values.size else newest for values in there])


def _spread(target: FloatArray, season: int) -> FloatArray:
    """Measure σ of each channel [C]; 0 where there is nothing to tell it from."""
    changes = (target[:, season:] - target[:, :-season]) ** 2
    counts = (~np.isnan(changes)).sum(axis=1)
    spread: FloatArray = np.sqrt(np.nansum(changes, axis=1) / np.maximum(counts, 1))
    return spread
