"""Contexts as the network gets them: standardised, and some of them on a logarithmic scale.

A series that varies in proportion to its level, such as a count of visitors by the hour, has
deep valleys next to high peaks. A forecast on the scale of its values is off by more than the
valley's whole value; on the scale of their logarithms peak and valley are equally regular.
"""

from typing import NamedTuple

import numpy as np

from forecast.models.sprout.context import LOOK_BACK, Floats, Integers, Mask, taken
from forecast.models.sprout.scaling import Standardised, standardise
from forecast.models.sprout.seasons import found_seasons

_OFFSETS = (0.1, 0.5)  # of the mean height above the lowest value, added before the logarithm
_LEAST_GAIN = 0.01  # of log likelihood a value; where there are no errors, rounding decides nothing
_FEWEST = 24  # observed values that can tell
_MOST_AT_LOWEST = 0.05  # share of the values; more are a floor, such as nights without sun
_ROUNDING = 1e-3  # standard deviations, below which errors count as none


class LogScale(NamedTuple):
    """The logarithm of the height above the lowest value, for some of N series.

    Below the lowest and above the highest value seen it goes on as a straight line, so that
    forecasts neither explode nor stop at a floor.

    Attributes:
        lowest, highest: [N] of the values seen.
        offset: [N].
        chosen: [N]; the other series stay as they are.
    """

    lowest: Floats
    highest: Floats
    offset: Floats
    chosen: Mask

    def apply(self, values: Floats) -> Floats:
        """Bring values [N, T] onto the scale."""
        lowest, highest, offset = (part[:, None] for part in self[:3])
        inside = np.clip(values, lowest, highest)
        height = inside - lowest + offset
        moved = np.log(height) + (values - inside) / height
        return np.where(self.chosen[:, None], moved, values)

    def undo(self, values: Floats) -> Floats:
        """Bring values [N, Q, H] back."""
        lowest, highest, offset = (part[:, None, None] for part in self[:3])
        inside = np.clip(values, np.log(offset), np.log(highest - lowest + offset))
        height = np.exp(inside)
        back = lowest - offset + height * (1 + values - inside)
        return np.where(self.chosen[:, None, None], back, values)


class Prepared(NamedTuple):
    """A batch of contexts on the scale that the network works on.

    Attributes:
        values: [N, T], NaN where missing.
        found: [N, 2], the seasons found in them.
    """

    values: Floats
    found: Integers
    unit: Standardised
    scale: LogScale

    def apply(self, values: Floats) -> Floats:
        """Bring other values [N, T] of the same series onto that scale."""
        size = np.where(self.unit.scale > 0, self.unit.scale, 1.0)[:, None]
        return self.scale.apply((values - self.unit.centre[:, None]) / size)

    def undo(self, quantiles: Floats) -> Floats:
        """Bring forecasts [N, Q, H] back to the unit of the series."""
        back = self.scale.undo(quantiles)
        restored: Floats = back * self.unit.scale[:, None, None] + self.unit.centre[:, None, None]
        return restored


def prepare(contexts: Floats) -> Prepared:
    """Standardise contexts [N, T], find their seasons and choose their scales."""
    unit = standardise(contexts)
    found = found_seasons(unit.values[:, -LOOK_BACK:])
    scale = _scale(unit.values, found)
    values = scale.apply(unit.values)
    if scale.chosen.any():
        on_log = standardise(values[scale.chosen, -LOOK_BACK:])
        found[scale.chosen] = found_seasons(on_log.values)
    return Prepared(values, found, unit, scale)


def _scale(values: Floats, seasons: Integers) -> LogScale:
    """Choose the logarithm where it makes the changes over a season, or a step, more likely.

    This is the likelihood of Box and Cox (1964), with errors of a Laplace distribution.
    """
    observed = ~np.isnan(values)
    count = np.maximum(observed.sum(axis=1), 1)
    lowest = np.where(observed, values, np.inf).min(axis=1)
    highest = np.where(observed, values, -np.inf).max(axis=1)
    height = np.where(observed, values - lowest[:, None], 0)
    mean = height.sum(axis=1) / count
    at_lowest = (observed & (height <= 1e-4 * mean[:, None])).sum(axis=1)
    able = (count >= _FEWEST) & (at_lowest <= np.maximum(1, _MOST_AT_LOWEST * count)) & (mean > 0)
    mean = np.where(able, mean, 1.0)
    scales = [LogScale(lowest, highest, share * mean, able) for share in _OFFSETS]
    plain, lag = _least_change(values, observed, seasons)
    gains = np.stack([_gain(scale, values, observed, plain, lag) for scale in scales])
    offsets = np.stack([scale.offset for scale in scales])
    offset = np.take_along_axis(offsets, gains.argmax(axis=0)[None], axis=0)[0]
    return LogScale(lowest, highest, offset, able & (gains.max(axis=0) > _LEAST_GAIN))


def _gain(scale: LogScale, values: Floats, observed: Mask, plain: Floats, lag: Integers) -> Floats:
    """Say how much more likely a value is on that scale: the logarithm [N]."""
    logarithms = np.where(observed, scale.apply(values), 0)
    mean = logarithms.sum(axis=1) / np.maximum(observed.sum(axis=1), 1)
    mean = np.where(scale.chosen, mean, 0)
    change = _change(logarithms, observed, lag) * np.exp(mean)
    gain: Floats = np.log(plain + _ROUNDING) - np.log(change + _ROUNDING)
    return gain


def _least_change(values: Floats, observed: Mask, seasons: Integers) -> tuple[Floats, Integers]:
    """Find over which of a step and the two seasons values change least: the change and lag [N]."""
    lags = np.concatenate([np.ones((len(values), 1), dtype=np.int64), seasons], axis=1)
    changes = np.stack([_change(values, observed, lag) for lag in lags.T], axis=1)
    least = changes.argmin(axis=1)[:, None]
    change, lag = (taken(some, least)[:, 0] for some in (changes, lags))
    return np.where(np.isfinite(change), change, 1.0), lag


def _change(values: Floats, observed: Mask, lag: Integers) -> Floats:
    """Average the deviations from the mean change over `lag` steps [N]."""
    before = np.arange(values.shape[1]) - lag[:, None]
    source = np.maximum(before, 0)
    both = observed & taken(observed, source) & (before >= 0)
    change = np.where(both, values - taken(values, source), 0)
    count = both.sum(axis=1)
    centre = change.sum(axis=1) / np.maximum(count, 1)
    apart = (np.abs(change - centre[:, None]) * both).sum(axis=1) / np.maximum(count, 1)
    return np.where(count >= 3, apart, np.inf)
