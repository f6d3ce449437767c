"""Lines and seasons without noise, which are continued as they are.

A network only comes near to them: its answer is a weighted mean of forecasts, one of which is
exact.
"""

import numpy as np

from forecast.models.sprout.context import Floats, Integers, taken

_FEWEST = 10  # differences that must agree
_TOLERANCE = 0.005  # standard deviations of the series


def moved_to_exact(quantiles: Floats, values: Floats, seasons: Integers) -> Floats:
    """Move forecasts [N, Q, H] to where a line, or a season on a line, goes on.

    All of the way where the past follows it, none where it is off by more than a hundredth of
    its standard deviation, and smoothly between.

    Args:
        values: [N, L] of the past, of standard deviation 1, NaN where missing.
        seasons: [N, 2].
    """
    horizon, middle = quantiles.shape[2], quantiles.shape[1] // 2
    line, line_share = _continued(values, np.ones(len(values), dtype=np.int64), horizon)
    season, season_share = _continued(values, seasons[:, 0], horizon)
    is_line = (line_share >= season_share)[:, None]
    share = np.maximum(line_share, season_share)[:, None]
    move = share * (np.where(is_line, line, season) - quantiles[:, middle])
    moved: Floats = quantiles + move[:, None]
    return moved


def _continued(values: Floats, season: Integers, horizon: int) -> tuple[Floats, Floats]:
    """Repeat the last season, moved by the usual change of a season, and say how exact that is.

    Returns:
        the forecast [N, H], and its share [N] from 0 to 1.
    """
    length = values.shape[1]
    before = np.arange(length) - season[:, None]
    earlier = taken(values, np.maximum(before, 0))
    change = np.where(before >= 0, values - earlier, np.nan)
    known = ~np.isnan(change)
    count = np.maximum(known.sum(axis=1), 1)
    mean = np.where(known, change, 0).sum(axis=1) / count
    off = np.sqrt((np.where(known, change - mean[:, None], 0) ** 2).sum(axis=1) / count)
    ahead = np.arange(horizon) // season[:, None] + 1
    source = length + np.arange(horizon) - ahead * season[:, None]
    repeated = taken(values, np.maximum(source, 0)) + mean[:, None] * ahead
    drifts = np.abs(mean) > _TOLERANCE  # once may be a step; a line does so again
    enough = count >= np.maximum(season * np.where(drifts, 2, 1), _FEWEST)
    sure = enough & ~np.isnan(repeated).any(axis=1)
    share = np.where(sure, np.exp(-np.minimum((off / _TOLERANCE) ** 2, 50)), 0)
    return np.where(sure[:, None], repeated, 0), np.where(share > 1e-6, share, 0)
