"""Seasons found in the data, by autocorrelation with a mask for what is missing."""

import numpy as np

from forecast.models.sprout.context import Floats, Integers, Mask

_LONGEST = 384
_LEAST_CORRELATION = 0.1
_MARGIN = 0.1  # of correlation, that a shorter season may lack against the best
_APART = 1.6  # times the shorter season, that the longer one must measure
_OFF = 0.15  # of the shorter season, that a peak may lie off its multiple
_CYCLES = 1.7  # of a season, that must have been seen


def found_seasons(values: Floats) -> Integers:
    """Find up to two seasons in each series, the shorter first; 1 is none.

    The main one is the shortest about as good as the best. Beside it stands a shorter one
    that is clear too, or a longer one in what differs from the season before.

    Args:
        values: [N, L] standardised, NaN where missing.

    Returns:
        [N, 2] steps in the seasons.
    """
    observed = ~np.isnan(values)
    rest = _detrended(values, observed)
    correlation = _autocorrelation(rest, observed)
    peaks = _peaks(correlation, observed)
    heights = np.where(peaks, correlation, -1.0)
    best = heights.max(axis=1, keepdims=True)
    main = _shortest(peaks & (heights >= best - _MARGIN))
    shorter = _shortest(peaks & (heights >= 0.5 * best))
    has_shorter = (shorter > 1) & (shorter * _APART <= main) & (main % shorter == 0)
    longer = _longer(rest, observed, main)
    first = np.where(has_shorter, shorter, main)
    return np.stack([first, np.where(has_shorter, main, longer)], axis=1)


def _longer(rest: Floats, observed: Mask, season: Integers) -> Integers:
    """Look for a season in the differences of each value from the one a season before."""
    before = np.arange(rest.shape[1]) - season[:, None]
    inside = np.maximum(before, 0)
    both = observed & np.take_along_axis(observed, inside, axis=1) & (before >= 0)
    change = np.where(both, rest - np.take_along_axis(rest, inside, axis=1), 0)
    correlation = _autocorrelation(change, both)
    lags = np.arange(correlation.shape[1])
    peaks = _peaks(correlation, both) & (lags >= _APART * season[:, None])
    times = np.rint(lags / season[:, None])
    peaks &= np.abs(lags - times * season[:, None]) <= _OFF * season[:, None]
    heights = np.where(peaks, correlation, -1.0)
    found = _shortest(peaks & (heights >= heights.max(axis=1, keepdims=True) - _MARGIN))
    whole = np.rint(found / season).astype(np.int64) * season
    return np.where((season > 1) & (found > 1), whole, 1)


def _peaks(correlation: Floats, observed: Mask) -> Mask:
    """Mark the lags that stand out: local peaks, well above all that is at shorter lags."""
    lags = np.arange(correlation.shape[1])
    seen = observed.shape[1] - observed.argmax(axis=1)
    least = _LEAST_CORRELATION + 1.5 / np.sqrt(observed.sum(axis=1) + 1.0)
    peaks: Mask = np.zeros(correlation.shape, dtype=bool)
    inner = correlation[:, 1:-1]
    peaks[:, 1:-1] = (inner > correlation[:, :-2]) & (inner >= correlation[:, 2:])
    peaks &= (correlation > least[:, None]) & (lags >= 2) & (lags * _CYCLES <= seen[:, None])
    rises = np.where(peaks, correlation - np.minimum.accumulate(correlation, axis=1), 0.0)
    peaks &= rises > 0.5 * rises.max(axis=1, keepdims=True)
    return peaks


def _shortest(good: Mask) -> Integers:
    return np.where(good.any(axis=1), good.argmax(axis=1), 1).astype(np.int64)


def _detrended(values: Floats, observed: Mask) -> Floats:
    """Subtract the least-squares line of the observed steps; 0 where missing."""
    weight = observed.astype(np.float32)
    count = np.maximum(weight.sum(axis=1, keepdims=True), 1)
    filled = np.where(observed, values, 0).astype(np.float32)
    time = np.linspace(-1, 1, values.shape[1], dtype=np.float32)
    centre = (weight * time).sum(axis=1, keepdims=True) / count
    apart = (time - centre) * weight
    slope = (filled * apart).sum(axis=1, keepdims=True) / np.maximum(
        (apart**2).sum(axis=1, keepdims=True), 1e-12
    )
    rest: Floats = filled - filled.sum(axis=1, keepdims=True) / count * weight - slope * apart
    return rest


def _autocorrelation(rest: Floats, observed: Mask) -> Floats:
    """Correlate each series with itself, lag by lag, over the pairs that are observed."""
    size = 1 << (rest.shape[1] + _LONGEST).bit_length()
    lags = min(_LONGEST, rest.shape[1] - 1) + 2
    spectrum = np.fft.rfft(rest, size)
    pairs = np.fft.rfft(observed.astype(np.float32), size)
    products = np.fft.irfft(np.abs(spectrum) ** 2, size)[:, :lags]
    counts = np.maximum(np.fft.irfft(np.abs(pairs) ** 2, size)[:, :lags], 0.5)
    power = np.maximum(products[:, :1] / counts[:, :1], 1e-12)
    shrunk = counts / (counts + 3)  # few pairs tell little
    correlation: Floats = products / counts / power * shrunk
    return correlation
