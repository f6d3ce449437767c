"""Seasons found in the data, by autocorrelation with a mask for what is missing."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]

_LONGEST = 384
_LEAST_CORRELATION = 0.1
_MARGIN = 0.1  # of correlation, that a shorter season may lack against the best
_SECOND_MARGIN = 0.03
_APART = 1.6  # times the first season, from which a second is looked for


def found_seasons(values: Floats) -> Integers:
    """Find up to two seasons in each series; 1 is none.

    Args:
        values: [N, L] standardised, NaN where missing.

    Returns:
        [N, 2] steps in the seasons.
    """
    observed = ~np.isnan(values)
    correlation = _autocorrelation(_detrended(values, observed), observed)
    lags = np.arange(correlation.shape[1])
    rise = correlation - np.minimum.accumulate(correlation, axis=1)
    steps = values.shape[1] - observed.argmax(axis=1)
    least = _LEAST_CORRELATION + 1.5 / np.sqrt(observed.sum(axis=1) + 1.0)
    peaks = np.zeros(correlation.shape, dtype=bool)
    inner = correlation[:, 1:-1]
    peaks[:, 1:-1] = (inner > correlation[:, :-2]) & (inner >= correlation[:, 2:])
    peaks &= (correlation > least[:, None]) & (lags >= 2) & (lags * 1.7 <= steps[:, None])
    rises = np.where(peaks, rise, 0.0)
    peaks &= rises > 0.5 * rises.max(axis=1, keepdims=True)
    first = _shortest_good(correlation, peaks, _MARGIN)
    later = peaks & (lags >= _APART * first[:, None])
    second = _shortest_good(correlation, later, _SECOND_MARGIN)
    return np.stack([first, np.where(first > 1, second, 1)], axis=1)


def _shortest_good(correlation: Floats, peaks: npt.NDArray[np.bool_], margin: float) -> Integers:
    heights = np.where(peaks, correlation, -1.0)
    good = peaks & (heights >= heights.max(axis=1, keepdims=True) - margin)
    return np.where(good.any(axis=1), good.argmax(axis=1), 1).astype(np.int64)


def _detrended(values: Floats, observed: npt.NDArray[np.bool_]) -> Floats:
    """Subtract the least-squares line of the observed steps; 0 where missing."""
    weight = observed.astype(np.float32)
    count = np.maximum(weight.sum(axis=1, keepdims=True), 1)
    filled = np.where(observed, values, 0).astype(np.float32)
    time = np.linspace(-1, 1, values.shape[1], dtype=np.float32)
    centre = (weight @ time)[:, None] / count
    apart = (time - centre) * weight
    slope = (filled * apart).sum(axis=1, keepdims=True) / np.maximum(
        (apart**2).sum(axis=1, keepdims=True), 1e-12
    )
    rest = filled - filled.sum(axis=1, keepdims=True) / count * weight - slope * apart
    return rest


def _autocorrelation(rest: Floats, observed: npt.NDArray[np.bool_]) -> Floats:
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
