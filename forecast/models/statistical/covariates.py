"""What covariates known ahead say of a series: a shrunk regression."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from forecast.core.types import FloatArray
from forecast.models.statistical.history import completed
from forecast.models.statistical.scaling import Scaler

_PENALTIES = np.logspace(-4, 1, 11)
_REPEATED = 1e-9  # standard deviations, below which a change over a season is rounding


@dataclass(frozen=True, slots=True, eq=False)
class Covariates:
    """K covariates over the T past steps and those ahead.

    Attributes:
        columns: [T + H, K], standardised by their past; constant ones are left out.
        names: K names.
        constant: names of those left out.
    """

    columns: FloatArray
    names: tuple[str, ...] = ()
    constant: tuple[str, ...] = ()

    @classmethod
    def of(cls, columns: FloatArray, names: tuple[str, ...], length: int) -> Self:
        """Standardise complete columns [T + H, K] by their first `length` steps."""
        moving = [index for index in range(len(names)) if np.ptp(columns[:length, index]) > 0]
        scaled = [Scaler.of(column[:length]).apply(column) for column in columns.T[moving]]
        return cls(
            np.array(scaled).reshape(len(moving), len(columns)).T,
            tuple(names[index] for index in moving),
            tuple(name for index, name in enumerate(names) if index not in moving),
        )

    def repeating(self, length: int, season: int) -> tuple[str, ...]:
        """Name those that only repeat the season in the first steps: `effect` learns none."""
        changes = np.abs(_without_season(self.columns[:length], season)).max(axis=0)
        return tuple(
            name for name, most in zip(self.names, changes, strict=True) if most <= _REPEATED
        )

    def effect(self, target: FloatArray, until: int, season: int) -> FloatArray:
        """Learn from the first `until` steps of a target [T] what covariates do: [T + H].

        Target and covariates are differenced over the season, and lose the correlation of
        neighbouring errors (Cochrane & Orcutt 1949), so that a season or a trend that they share
        is no effect. The penalty has the least generalised cross-validation error (Golub, Heath
        & Wahba 1979).
        """
        cut = target[:until]
        rows = np.flatnonzero(~np.isnan(cut))
        known = completed(cut[rows[0] : rows[-1] + 1], season)
        span = slice(int(rows[0]), int(rows[-1]) + 1)
        matrix = _without_season(self.columns[span], season)
        values = _without_season(known[:, None], season)[:, 0]
        rest = values - matrix @ _shrunk(matrix, values)
        size = float(rest[:-1] @ rest[:-1])
        order = min(max(float(rest[1:] @ rest[:-1]) / size, 0.0), 1.0) if size > 0 else 0.0
        slopes = _shrunk(matrix[1:] - order * matrix[:-1], values[1:] - order * values[:-1])
        effect: FloatArray = self.columns @ slopes
        return effect


def _without_season(columns: FloatArray, season: int) -> FloatArray:
    """Difference columns [T, K] over a season; without a season, subtract their mean.

    A history of less than three seasons would lose too much, and keeps the season.
    """
    if season < 2 or len(columns) < 3 * season:
        centred: FloatArray = columns - columns.mean(axis=0)
        return centred
    changes: FloatArray = columns[season:] - columns[:-season]
    return changes


def _shrunk(matrix: FloatArray, values: FloatArray) -> FloatArray:
    """Fit a ridge regression [K] without an intercept."""
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    sizes = np.where(sizes > 1e-10 * max(float(sizes.max(initial=0.0)), 1e-300), sizes, 0.0)
    shares = left.T @ values
    penalties = _PENALTIES[:, None] * len(values)
    kept = sizes**2 / (sizes**2 + penalties)  # [penalties, K]
    off = values @ values - (kept * (2 - kept) * shares**2).sum(axis=1)
    freedom = np.maximum(len(values) - 1 - kept.sum(axis=1), 0.5)
    best = int(np.argmin(np.maximum(off, 0.0) / freedom**2))
    slopes: FloatArray = right.T @ (sizes / (sizes**2 + penalties[best]) * shares)
    return slopes
