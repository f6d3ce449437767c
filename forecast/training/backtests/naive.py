"""The seasonal naive: what every model is measured beside."""

from statistics import NormalDist

import numpy as np

from forecast.core.types import FloatArray, Forecast, ForecastTask, Series


def seasonal_naive(series: Series, task: ForecastTask) -> Forecast:
    """Forecast each step by the newest value observed a whole number of seasons before it.

    The quantiles are normal, σ √(k + 1) wide with k whole seasons since the last one known and
    σ² the mean squared difference between neighbouring seasons (Hyndman & Athanasopoulos, FPP3,
    5.2 and 5.5). A series shorter than two seasons is repeated from its last value.
    """
    season = series.season_length if series.length >= 2 * series.season_length else 1
    steps = np.arange(task.horizon)
    known = np.stack([_last_season(channel, season) for channel in series.target])  # [C, m]
    mean = known[:, steps % season]  # [C, H]
    widths = _spread(series.target, season)[:, None] * np.sqrt(steps // season + 1)
    scores = [NormalDist().inv_cdf(level) for level in task.quantile_levels]
    quantiles = mean[:, None] + np.array(scores)[:, None] * widths[:, None]  # [C, Q, H]
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
