"""How good forecasts were, in every measure of `core.accuracy`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from forecast.core import accuracy
from forecast.core.errors import BadData
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series

HeldOut = tuple[Series, FloatArray]
"""A series cut short, and what came after the cut: [C, H]."""

Rows = npt.NDArray[np.int64] | slice
Predict = Callable[[Sequence[Series], ForecastTask], list[Forecast]]


def evaluate(predict: Predict, test: Sequence[Series], task: ForecastTask) -> dict[str, float]:
    """Forecast the last `task.horizon` steps of each series from those before, and measure.

    Returns:
        Every metric of `Errors.measure`.

    Raises:
        BadData: a series is too short to hold out so many steps.
    """
    cut = [hold_out(series, task.horizon) for series in test]
    return measure(cut, predict([past for past, _ in cut], task))


def hold_out(series: Series, horizon: int) -> HeldOut:
    """Cut the last `horizon` steps off; known covariates keep their future.

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
    """Measure forecasts of one horizon and the same levels, over all channels and series."""
    return Errors.of(held_out, forecasts).measure() if forecasts else {}


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """Forecasts beside what came: a row for each channel of each series.

    Attributes:
        actual: [R, H], NaN where nothing was observed.
        mean: [R, H].
        quantiles: [R, Q, H].
        levels: the Q quantile levels.
        scales: [R, 2]: mean absolute, and root mean squared, seasonal change of the past; NaN
            where there is none.
    """

    actual: FloatArray
    mean: FloatArray
    quantiles: FloatArray
    levels: tuple[float, ...]
    scales: FloatArray

    @classmethod
    def of(cls, held_out: Sequence[HeldOut], forecasts: Sequence[Forecast]) -> Self:
        """Stack forecasts and what came."""
        return cls(
            actual=np.concatenate([actual for _, actual in held_out]).astype(float),
            mean=np.concatenate([one.mean for one in forecasts]).astype(float),
            quantiles=np.concatenate([one.quantiles for one in forecasts]).astype(float),
            levels=forecasts[0].quantile_levels,
            scales=np.concatenate([scales_of(series) for series, _ in held_out]),
        )

    def of_others(self, forecasts: Sequence[Forecast]) -> Self:
        """Put other forecasts of the same series beside what came."""
        return replace(
            self,
            mean=np.concatenate([one.mean for one in forecasts]).astype(float),
            quantiles=np.concatenate([one.quantiles for one in forecasts]).astype(float),
        )

    def take(self, rows: Rows) -> Self:
        """Keep some rows."""
        return replace(
            self,
            actual=self.actual[rows],
            mean=self.mean[rows],
            quantiles=self.quantiles[rows],
            scales=self.scales[rows],
        )

    def at_step(self, step: int) -> Self:
        """Keep one step of the horizon, counted from 0."""
        one = slice(step, step + 1)
        return replace(
            self,
            actual=self.actual[:, one],
            mean=self.mean[:, one],
            quantiles=self.quantiles[..., one],
        )

    def measure(self) -> dict[str, float]:
        """Measure over all rows and steps together, as each metric is published.

        `mae`, `rmse`, `mape`, `smape`, `pinball`, `wql` and coverage are pooled: over all that was
        observed, `wql` as one ratio of sums (GluonTS). `mase` and `msis` pool errors scaled by
        each row's own past, `rmsse` averages the rows (M5). `mean_item_rmse` and `mean_item_wql`
        average the value of each row, so that small series count as large ones do. Coverage,
        width and MSIS name the level of their interval in percent; there are those of each
        symmetric pair of levels.

        What has no meaning for a row, such as MASE of a constant, is left out of its mean; a
        metric without any meaning is left out.
        """
        found = self._points() | self._quantiles()
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def _points(self) -> dict[str, float]:
        actual, mean = self.actual, self.mean
        absolute, squared = self.scales[:, :1], self.scales[:, 1]
        root = np.sqrt(_row_means((actual - mean) ** 2))  # [R]
        return {
            "mae": accuracy.mae(actual, mean),
            "rmse": accuracy.rmse(actual, mean),
            "mean_item_rmse": _mean(root),
            "mape": accuracy.mape(actual, mean),
            "smape": accuracy.smape(actual, mean),
            "mase": accuracy.mae(actual / absolute, mean / absolute),
            "rmsse": _mean(root / squared),
        }

    def _quantiles(self) -> dict[str, float]:
        if not self.levels:
            return {}
        level = np.array(self.levels)[:, None]
        error = self.actual[:, None] - self.quantiles
        losses = np.maximum(level * error, (level - 1) * error).mean(axis=1)  # [R, H]
        size = _row_sums(np.abs(self.actual))
        ratio = 2 * _row_sums(losses) / np.where(size > 0, size, np.nan)
        found = {
            "pinball": _mean(losses),
            "wql": accuracy.wql(self.actual, self.quantiles, self.levels),
            "mean_item_wql": _mean(ratio),
        }
        for row, mirrored in _pairs(self.levels):
            found |= self._interval(row, mirrored)
        return found

    def _interval(self, lower: int, upper: int) -> dict[str, float]:
        share = self.levels[upper] - self.levels[lower]
        interval = self.quantiles[:, lower], self.quantiles[:, upper]
        scores = accuracy.interval_scores(self.actual, interval, level=share)
        percent = f"{100 * share:.4g}"
        return {
            f"coverage_{percent}": accuracy.coverage(self.actual, *interval),
            f"interval_width_{percent}": accuracy.interval_width(*interval),
            f"msis_{percent}": _mean(scores / self.scales[:, :1]),
        }


def scales_of(series: Series) -> FloatArray:
    """Find what errors of each channel are divided by in MASE and in RMSSE: [C, 2]."""
    one, none, season = np.ones(1), np.zeros(1), series.season_length
    inverse = [
        (accuracy.mase(one, none, past, season), accuracy.rmsse(one, none, past, season))
        for past in series.target
    ]
    return 1 / np.array(inverse)


def _pairs(levels: Sequence[float]) -> list[tuple[int, int]]:
    """Find the pairs of levels that bound a central interval, the widest first."""
    return [
        (lower, upper)
        for lower, one in enumerate(levels)
        for upper, other in enumerate(levels)
        if lower < upper and abs(one + other - 1) < 1e-9
    ]


def _row_sums(values: FloatArray) -> FloatArray:
    """Sum what is there: [R, H] → [R]; NaN where nothing is."""
    there = ~np.isnan(values)
    sums: FloatArray = np.where(there.any(axis=1), np.nansum(values, axis=1), np.nan)
    return sums


def _row_means(values: FloatArray) -> FloatArray:
    """Average what is there: [R, H] → [R]; NaN where nothing is."""
    means: FloatArray = _row_sums(values) / np.maximum((~np.isnan(values)).sum(axis=1), 1)
    return means


def _mean(values: FloatArray) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if there.size else float("nan")
