"""How good a forecast was. Arrays are [..., H] and broadcast; a NaN in the actual is skipped.

Sources, by the names below: HK06 is Hyndman & Koehler 2006, *Another look at measures of
forecast accuracy*, International Journal of Forecasting 22(4); M4 is Makridakis, Spiliotis &
Assimakopoulos 2020, *The M4 Competition*, the same journal 36(1); M5 is their *M5 accuracy
competition*, 38(4); GR07 is Gneiting & Raftery 2007, *Strictly proper scoring rules*, JASA
102(477).
"""

from collections.abc import Sequence

import numpy as np

from forecast.core.types import FloatArray


def mae(actual: FloatArray, forecast: FloatArray) -> float:
    """Mean absolute error: mean |y - f|, in the unit of the series (HK06)."""
    return _mean(np.abs(actual - forecast))


def rmse(actual: FloatArray, forecast: FloatArray) -> float:
    """Root mean squared error: √ mean (y - f)², in the unit of the series (HK06)."""
    return float(np.sqrt(_mean((actual - forecast) ** 2)))


def mape(actual: FloatArray, forecast: FloatArray) -> float:
    """Mean absolute percentage error: 100 mean |y - f| / |y|, in percent (HK06).

    Steps whose actual is 0 have no percentage and are skipped; NaN if all are.
    """
    size = np.where(actual == 0, np.nan, np.abs(actual))
    return _mean(100 * np.abs(actual - forecast) / size)


def smape(actual: FloatArray, forecast: FloatArray) -> float:
    """Symmetric MAPE: 200 mean |y - f| / (|y| + |f|), from 0 to 200 percent (M4).

    A step where both are 0 is without error.
    """
    size = np.abs(actual) + np.abs(forecast)
    return _mean(200 * np.abs(actual - forecast) / np.where(size == 0, 1.0, size))


def mase(
    actual: FloatArray, forecast: FloatArray, history: FloatArray, season_length: int = 1
) -> float:
    """Mean absolute scaled error: MAE / mean |y_t - y_(t-m)| over the history (HK06, M4).

    Below 1 is better than the seasonal naive was, on average, one step ahead in the past.

    Args:
        history: [T], what came before the first actual.
        season_length: m; 1 scales by the naive.

    Returns:
        NaN where the history is constant or no longer than a season: there is no scale.
    """
    return mae(actual, forecast) / _scale(np.abs(_changes(history, season_length)))


def rmsse(
    actual: FloatArray, forecast: FloatArray, history: FloatArray, season_length: int = 1
) -> float:
    """Root mean squared scaled error: √(MSE / mean (y_t - y_(t-m))²), as `mase` (HK06, M5)."""
    return rmse(actual, forecast) / float(np.sqrt(_scale(_changes(history, season_length) ** 2)))


def pinball(actual: FloatArray, quantile: FloatArray, level: float) -> float:
    """Mean pinball loss of one quantile: mean max(q (y - f), (q - 1)(y - f)) (GR07)."""
    error = actual - quantile
    return _mean(np.maximum(level * error, (level - 1) * error))


def wql(actual: FloatArray, quantiles: FloatArray, levels: Sequence[float]) -> float:
    """Weighted quantile loss: mean over the levels of 2 Σ pinball / Σ |y|.

    As `mean_wQuantileLoss` of GluonTS (Alexandrov et al. 2020, JMLR 21(116)).

    Args:
        actual: [..., H].
        quantiles: [..., Q, H].
        levels: the Q levels.

    Returns:
        NaN where all actuals are 0: there is no weight.
    """
    size = _scale(np.abs(actual))
    losses = [pinball(actual, quantiles[..., row, :], level) for row, level in enumerate(levels)]
    return 2 * float(np.mean(losses)) / size


def coverage(actual: FloatArray, lower: FloatArray, upper: FloatArray) -> float:
    """Share of actuals within the interval, ends included; ideally its nominal level."""
    inside = (actual >= lower) & (actual <= upper)
    return _mean(np.where(np.isnan(actual), np.nan, inside))


def interval_width(lower: FloatArray, upper: FloatArray) -> float:
    """Mean width of the interval, in the unit of the series."""
    return float(np.mean(upper - lower))


def interval_scores(
    actual: FloatArray, interval: tuple[FloatArray, FloatArray], *, level: float
) -> FloatArray:
    """Interval score of each step: (u - l) + 2/α (l - y)⁺ + 2/α (y - u)⁺, α = 1 - level (GR07)."""
    lower, upper = interval
    missed = np.maximum(lower - actual, 0) + np.maximum(actual - upper, 0)
    scores: FloatArray = (upper - lower) + 2 / (1 - level) * missed
    return scores


def msis(
    actual: FloatArray,
    interval: tuple[FloatArray, FloatArray],
    history: FloatArray,
    season_length: int = 1,
    *,
    level: float = 0.95,
) -> float:
    """Mean scaled interval score: mean of `interval_scores` over the scale of `mase` (M4).

    Args:
        interval: lower and upper end, each [..., H].
        history: [T], what came before the first actual.
        level: how much the interval should cover, in (0, 1).
    """
    score = _mean(interval_scores(actual, interval, level=level))
    return score / _scale(np.abs(_changes(history, season_length)))


def owa(smape_value: float, mase_value: float, reference: tuple[float, float]) -> float:
    """Overall weighted average: mean of sMAPE and MASE, each over the reference's (M4).

    Args:
        smape_value: mean over the series.
        mase_value: mean over the series.
        reference: mean sMAPE and MASE of Naive 2 on the same series.
    """
    return (smape_value / reference[0] + mase_value / reference[1]) / 2


def _changes(history: FloatArray, season_length: int) -> FloatArray:
    changes: FloatArray = history[..., season_length:] - history[..., :-season_length]
    return changes


def _mean(values: FloatArray) -> float:
    """Mean of what is there; NaN, without a warning, where nothing is."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")


def _scale(sizes: FloatArray) -> float:
    """Mean of the sizes to divide by; NaN where that is 0 or there are none."""
    return _mean(sizes) or float("nan")
