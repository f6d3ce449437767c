"""Quantile levels a model does not have, from those it has. The one place that does it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from forecast.core.types import FloatArray, Forecast


def at_levels(forecast: Forecast, levels: Sequence[float]) -> Forecast:
    """Interpolate a forecast to other quantile levels, linearly between its own.

    Crossing quantiles are put in order first (Chernozhukov, Fernández-Val & Galichon 2010).
    A level beyond the model's outermost ones gets the outermost one and a warning.

    Args:
        forecast: with quantiles [C, K, H] at its own K levels.
        levels: the Q levels wanted, strictly increasing.

    Returns:
        The same forecast with quantiles [C, Q, H].
    """
    own = np.asarray(forecast.quantile_levels)
    wanted = np.asarray(levels, dtype=float)
    ordered = np.sort(forecast.quantiles, axis=1)
    if len(wanted) == 0 or tuple(levels) == forecast.quantile_levels:
        kept = ordered if len(wanted) else ordered[:, :0]
        return replace(forecast, quantiles=kept, quantile_levels=tuple(levels))
    return replace(
        forecast,
        quantiles=_interpolate(ordered, own, wanted),
        quantile_levels=tuple(levels),
        warnings=forecast.warnings + _beyond(own, wanted),
    )


def _interpolate(ordered: FloatArray, own: FloatArray, wanted: FloatArray) -> FloatArray:
    above = np.clip(np.searchsorted(own, wanted), 1, max(len(own) - 1, 1))
    below = above - 1
    above = np.minimum(above, len(own) - 1)
    gap = np.where(above > below, own[above] - own[below], 1.0)
    share = np.clip((wanted - own[below]) / gap, 0.0, 1.0)[None, :, None]  # [1, Q, 1]
    mixed: FloatArray = ordered[:, below] * (1 - share) + ordered[:, above] * share
    return mixed.astype(ordered.dtype)


def _beyond(own: FloatArray, wanted: FloatArray) -> tuple[str, ...]:
    outside = wanted[(wanted < own[0] - 1e-9) | (wanted > own[-1] + 1e-9)]
    if outside.size == 0:
        return ()
    listed = ", ".join(f"{level:g}" for level in outside)
    return (
        f"quantile levels {listed} lie beyond the model's own {own[0]:g} to {own[-1]:g};"
        " the outermost is given",
    )
