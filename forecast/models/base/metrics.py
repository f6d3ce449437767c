"""How good forecasts were, in every measure of `core.accuracy`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from forecast.core import accuracy
from forecast.core.errors import BadData
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series

HeldOut = tuple[Series, FloatArray]
"""A series cut short, and what came after the cut: [C, H]."""


class MetricsMixin(ABC):
    """Measures how good forecasts are, of whatever has a `predict` like that of a model."""

    @abstractmethod
    def predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        """Forecast every series of a batch, in order."""

    def evaluate(self, test: Sequence[Series], task: ForecastTask) -> dict[str, float]:
        """Forecast the last `task.horizon` steps of each series from those before, and measure.

        Returns:
            Means over the series of every metric that `measure` knows.

        Raises:
            BadData: a series is too short to hold out so many steps.
        """
        cut = [hold_out(series, task.horizon) for series in test]
        return measure(cut, self.predict([past for past, _ in cut], task))


def hold_out(series: Series, horizon: int) -> HeldOut:
    """Cut the last `horizon` steps off; covariates known ahead stay known.

    Raises:
        BadData: nothing would be left to forecast from.
    """
    kept = series.length - horizon
    if kept < 1:
        raise BadData(
            f"series {series.item_id!r} has {series.length} steps; evaluating a horizon of"
            f" {horizon} needs more"
        )
    return series.until(kept, horizon), series.target[:, kept:]


def measure(held_out: Sequence[HeldOut], forecasts: Sequence[Forecast]) -> dict[str, float]:
    """Average every measure over channels and series.

    Interval measures are of the outermost pair of levels, and only where it is symmetric.
    What has no meaning for a series, such as MASE of a constant, is left out of its mean; a
    measure without any meaning is left out.
    """
    rows = [
        _measure(series, actual, forecast, channel)
        for (series, actual), forecast in zip(held_out, forecasts, strict=True)
        for channel in range(series.num_channels)
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    means = {name: _mean([row[name] for row in rows if name in row]) for name in names}
    return {name: value for name, value in means.items() if np.isfinite(value)}


def _measure(
    series: Series, actual: FloatArray, forecast: Forecast, channel: int
) -> dict[str, float]:
    truth, past, mean = actual[channel], series.target[channel], forecast.mean[channel]
    season = series.season_length
    points = {
        "mae": accuracy.mae(truth, mean),
        "rmse": accuracy.rmse(truth, mean),
        "mape": accuracy.mape(truth, mean),
        "smape": accuracy.smape(truth, mean),
        "mase": accuracy.mase(truth, mean, past, season),
        "rmsse": accuracy.rmsse(truth, mean, past, season),
    }
    return points | _measure_quantiles(truth, past, forecast, channel, season)


def _measure_quantiles(
    truth: FloatArray, past: FloatArray, forecast: Forecast, channel: int, season: int
) -> dict[str, float]:
    levels, quantiles = forecast.quantile_levels, forecast.quantiles[channel]
    if not levels:
        return {}
    losses = [
        accuracy.pinball(truth, row, level) for row, level in zip(quantiles, levels, strict=True)
    ]
    measures = {"pinball": _mean(losses), "wql": accuracy.wql(truth, quantiles, levels)}
    if len(levels) > 1 and abs(levels[0] + levels[-1] - 1) < 1e-9:
        interval = (quantiles[0], quantiles[-1])
        measures |= {
            "coverage": accuracy.coverage(truth, *interval),
            "interval_width": accuracy.interval_width(*interval),
            "msis": accuracy.msis(truth, interval, past, season, level=levels[-1] - levels[0]),
        }
    return measures


def _mean(values: Sequence[float]) -> float:
    there = [value for value in values if np.isfinite(value)]
    return float(np.mean(there)) if there else float("nan")
