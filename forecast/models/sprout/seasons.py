"""Seasons found in the data, by autocorrelation with a mask for what is missing."""

import numpy as np

from forecast.models.sprout.context import Floats, Integers, Mask, taken

_LONGEST = 384
_LEAST_CORRELATION = 0.1
_MARGIN = 0.1  # of correlation, that a shorter season may lack against the best
_APART = 1.6  # times the shorter season, that the longer one must measure
_OFF = 0.15  # of the shorter season, that a peak may lie off its multiple
_CYCLES = 1.7  # of a season, that must have been seen
_SHIFTS = (0, -1, 1, -2, 2)
_LEAST_TO_MOVE = 8  # steps in a season
_FEW_PAIRS = 3  # of steps a season apart, and cycles of such, that tell little: the correlation is
_FEW_CYCLES = 0.4  # shrunk as if so many more had none
_FARTHEST = 2.5  # standard deviations that a value may lie from the line; outliers hide seasons


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
    correlation = autocorrelation(rest, observed)
    peaks = _peaks(correlation, observed)
    heights = np.where(peaks, correlation, -1.0)
    best = heights.max(axis=1, keepdims=True)
    main = _refined(correlation, _shortest(peaks & (heights >= best - _MARGIN)))
    shorter = _refined(correlation, _shortest(peaks & (heights >= 0.5 * best)))
    has_shorter = (shorter > 1) & (shorter * _APART <= main) & (main % shorter == 0)
    longer = _longer(rest, observed, main)
    first = np.where(has_shorter, shorter, main)
    return np.stack([first, np.where(has_shorter, main, longer)], axis=1)


def _longer(rest: Floats, observed: Mask, season: Integers) -> Integers:
    """Look for a season in the differences of each value from the one a season before."""
    before = np.arange(rest.shape[1]) - season[:, None]
    inside = np.maximum(before, 0)
    both = observed & taken(observed, inside) & (before >= 0)
    change = np.where(both, rest - taken(rest, inside), 0)
    correlation = autocorrelation(change, both)
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


def _refined(correlation: Floats, season: Integers) -> Integers:
    """Move a season by up to two steps, to where its multiples have the highest correlation.

    The peak of a smooth season is so broad that noise moves it; at a multiple it is narrower.
    """
    heights = []
    for shift in _SHIFTS:
        lags = (season + shift)[:, None] * np.arange(1, 4)
        inside = lags < correlation.shape[1]
        there = taken(correlation, np.where(inside, lags, 0))
        heights.append((there * inside).sum(axis=1) / np.maximum(inside.sum(axis=1), 1))
    moved = season + np.array(_SHIFTS)[np.argmax(heights, axis=0)]
    return np.where((season >= _LEAST_TO_MOVE) & (moved < correlation.shape[1]), moved, season)


def _detrended(values: Floats, observed: Mask) -> Floats:
    """Subtract the least-squares line of the observed steps, and clip what is left.

    A missing step is 0.
    """
    weight = observed.astype(np.float32)
    count = np.maximum(weight.sum(axis=1, keepdims=True), 1)
    filled = np.where(observed, values, 0).astype(np.float32)
    time = np.linspace(-1, 1, values.shape[1], dtype=np.float32)
    centre = (weight * time).sum(axis=1, keepdims=True) / count
    apart = (time - centre) * weight
    slope = (filled * apart).sum(axis=1, keepdims=True) / np.maximum(
        (apart**2).sum(axis=1, keepdims=True), 1e-12
    )
    rest = filled - filled.sum(axis=1, keepdims=True) / count * weight - slope * apart
    limit = _FARTHEST * np.sqrt((rest**2).sum(axis=1, keepdims=True) / count)
    clipped: Floats = np.clip(rest, -limit, limit)
    return clipped


def autocorrelation(rest: Floats, observed: Mask) -> Floats:
    """Correlate each series with itself, lag by lag, over the pairs that are observed."""
    length = rest.shape[1]
    lags = min(_LONGEST, length - 1) + 2
    products = _products(rest, lags)
    seen = length - observed.argmax(axis=1)
    counts = (seen[:, None] - np.arange(lags)).astype(rest.dtype)
    gaps = np.flatnonzero(observed.sum(axis=1) != seen)
    if len(gaps):
        counts[gaps] = _products(observed[gaps].astype(rest.dtype), lags)
    counts = np.maximum(counts, 0.5)
    power = np.maximum(products[:, :1] / counts[:, :1], 1e-12)
    few = _FEW_PAIRS + _FEW_CYCLES * np.arange(lags, dtype=rest.dtype)
    correlation: Floats = products / counts / power * (counts / (counts + few))
    return correlation


def _products(values: Floats, lags: int) -> Floats:
    """Sum the products of values [N, T] and those `lag` steps before: [N, lags]."""
    least = values.shape[1] + lags
    size = min(odd << (-(-least // odd) - 1).bit_length() for odd in (1, 3, 5))
    spectrum = np.fft.rfft(values, size)
    products: Floats = np.fft.irfft(np.abs(spectrum) ** 2, size)[:, :lags]
    return products
