"""Quantiles of a point forecast from the errors of forecasts of the series' own past."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.calibration import calibrated, conformal_radii, coverages_of

PointForecasts = Callable[[Sequence[Series], int], Sequence[FloatArray]]
"""Forecasts series over a horizon: [C, H] each."""

ORIGINS = 6
"""Earlier points in time that a series is forecast from, to learn how far off that is."""

_FEW = 8  # errors; with fewer, naive ones are counted too
_POWERS = np.linspace(0.0, 1.0, 21)
_EXPECTED_POWER = 0.5  # of a random walk
_TINY = 1e-300
_UNKNOWN = (
    "the series is too short to tell how far off its forecast may be;"
    " its quantiles are the point forecast"
)


def with_past_errors(
    batch: Sequence[Series],
    task: ForecastTask,
    point: PointForecasts,
    *,
    origins: int = ORIGINS,
    block: int | None = None,
    least: int = 1,
) -> list[Forecast]:
    """Forecast series, with quantiles from forecasts of each one's own past.

    Every series is cut at up to `origins` earlier steps, spread over its second half, and all
    cuts are forecast in one call together with the series themselves. The error of step h is
    taken to grow as h^p; p, between 0 and 1, has the largest Gaussian likelihood, with a prior
    N(½, 0.35²). The radius is conformal over all errors e_h / h^p of the series. Where there
    are fewer than eight errors, the steps between neighbouring values are counted as errors of
    step 1: those of the naive forecast. A series of one value has no errors; its quantiles are
    its point forecast, with a warning.

    Args:
        block: steps by which a past is forecast, whatever the horizon: answers of different
            horizons agree in their first steps (except beside covariates known ahead, which
            end with the horizon). The horizon if None.
        least: fewest observed values that the model can forecast from.
    """
    horizon, levels = task.horizon, task.quantile_levels
    if not levels:
        means = point(batch, horizon)
        return [Forecast(mean, np.empty((len(mean), 0, horizon)), ()) for mean in means]
    reach = block or horizon
    if any(series.future_covariates for series in batch):
        reach = min(reach, horizon)
    longest = max(reach, horizon)
    cuts = [_cuts(series, reach, longest, origins, least) for series in batch]
    asked = [one for series, earlier in zip(batch, cuts, strict=True) for one in (series, *earlier)]
    answers = iter(point(asked, longest))
    forecasts = []
    for series, earlier in zip(batch, cuts, strict=True):
        mean = next(answers)[:, :horizon]
        errors = [_errors(series, cut, next(answers)[:, :reach]) for cut in earlier]
        radii, known = _radii_of_series(series, errors, levels, horizon)
        warnings = () if known else (_UNKNOWN,)
        forecasts.append(replace(calibrated(mean, radii, levels), warnings=warnings))
    return forecasts


def _cuts(series: Series, reach: int, horizon: int, count: int, least: int) -> list[Series]:
    return [
        cut
        for origin in origins_of(series.length, reach, count)
        if _observed(cut := series.until(origin, horizon)) >= least
    ]


def origins_of(length: int, reach: int, count: int) -> tuple[int, ...]:
    """Choose how many first steps to forecast the rest from: up to `count` numbers.

    They are spread over the second half, as far as whole stretches of `reach` steps are known
    after them, or else as far as one step is.
    """
    first, last = -(-length // 2), length - 1
    if length - reach >= first:
        last = length - reach
    if last < max(first, 1):
        return ()
    spread = np.linspace(first, last, count).round().astype(int)
    return tuple(int(origin) for origin in np.unique(spread) if origin > 0)


def _observed(series: Series) -> int:
    """Count the observed values of the channel that has the fewest."""
    return int((~np.isnan(series.target)).sum(axis=1).min())


def _errors(series: Series, cut: Series, point: FloatArray) -> FloatArray:
    """Compare a forecast of the past with what came: [C, reach], NaN where nothing did."""
    came = series.target[:, cut.length : cut.length + point.shape[1]]
    errors = np.full(point.shape, np.nan)
    errors[:, : came.shape[1]] = came - point[:, : came.shape[1]]
    return errors


def _radii_of_series(
    series: Series, errors: Sequence[FloatArray], levels: Sequence[float], horizon: int
) -> tuple[FloatArray, bool]:
    """Find the radii [C, Q, H], and whether there was any error to find them from."""
    rows = [
        _radii_of_channel(series.target[channel], [one[channel] for one in errors], levels, horizon)
        for channel in range(series.num_channels)
    ]
    return np.stack([radii for radii, _ in rows]), all(known for _, known in rows)


def _radii_of_channel(
    target: FloatArray, errors: Sequence[FloatArray], levels: Sequence[float], horizon: int
) -> tuple[FloatArray, bool]:
    reach = len(errors[0]) if errors else 1
    found = np.array(errors, dtype=float).reshape(-1, reach)  # [origins, reach]
    if np.isfinite(found).sum() < _FEW:
        naive = np.full((max(len(target) - 1, 0), reach), np.nan)
        observed = target[~np.isnan(target)]
        naive[: max(len(observed) - 1, 0), 0] = np.diff(observed)
        found = np.concatenate([found, naive])
    steps = np.broadcast_to(np.arange(1, reach + 1), found.shape)[np.isfinite(found)]
    values = found[np.isfinite(found)]
    if len(values) == 0:
        return np.zeros((len(levels), horizon)), False
    power = _power(values, steps)
    radii = conformal_radii(values / steps**power, coverages_of(levels))  # [Q]
    return radii[:, None] * np.arange(1, horizon + 1) ** power, True


def _power(errors: FloatArray, steps: FloatArray) -> float:
    """Find the p for which the errors look most like N(0, s² h^2p), among 0, 0.05, …, 1."""
    largest = np.abs(errors).max()
    if largest == 0:
        return _EXPECTED_POWER
    squares = np.bincount(steps, weights=(errors / largest) ** 2)[1:]  # [reach]
    counts = np.bincount(steps)[1:]
    logs = np.log(np.arange(1, len(counts) + 1))
    variance = np.exp(-2 * _POWERS[:, None] * logs) @ squares / counts.sum()  # [P]
    cost = _POWERS * (counts @ logs) + counts.sum() / 2 * np.log(np.maximum(variance, _TINY))
    return float(_POWERS[np.argmin(cost + 4 * (_POWERS - _EXPECTED_POWER) ** 2)])
