"""Forecasts in a file, for another process: the arrays of NumPy, in which nothing can hide."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from forecast.core.atomic import replacing
from forecast.core.types import Forecast


def write_forecasts(path: Path, forecasts: Sequence[Forecast]) -> None:
    """Write forecasts of one horizon and the same levels, exactly; the file appears whole."""
    levels = forecasts[0].quantile_levels
    with replacing(path) as draft, draft.open("wb") as file:
        np.savez(
            file,
            channels=np.array([len(one.mean) for one in forecasts]),
            mean=np.concatenate([one.mean for one in forecasts]),  # [ΣC, H]
            quantiles=np.concatenate([one.quantiles for one in forecasts]),  # [ΣC, Q, H]
            levels=np.array(levels, dtype=float),
            warnings=np.array(["\n".join(one.warnings) for one in forecasts], dtype=str),
        )


def read_forecasts(path: Path) -> list[Forecast]:
    """Read what `write_forecasts` wrote."""
    with np.load(path, allow_pickle=False) as kept:
        ends = np.cumsum(kept["channels"])[:-1]
        means = np.split(kept["mean"], ends)
        quantiles = np.split(kept["quantiles"], ends)
        levels = tuple(kept["levels"].tolist())
        warnings = [tuple(text.split("\n")) if text else () for text in kept["warnings"].tolist()]
    return [
        Forecast(mean, rows, levels, told)
        for mean, rows, told in zip(means, quantiles, warnings, strict=True)
    ]
