"""Several methods, weighted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from forecast.core.types import FloatArray
from forecast.models.base.past_errors import PastErrors
from forecast.models.statistical.methods import Member


@dataclass(frozen=True, slots=True, eq=False)
class Combination:
    """Weighted methods, and how far off they were together at earlier origins."""

    members: tuple[Member, ...]
    weights: tuple[float, ...]
    past: PastErrors
    effect: FloatArray | None = None  # of covariates, on the steps ahead
    share: float = 1.0  # of that effect

    def forecast(self, horizon: int) -> FloatArray:
        """Average the point forecasts: [H]."""
        parts = [member.forecast(horizon) for member in self.members]
        return self._sum(parts) + self._ahead(horizon)

    def quantiles(self, horizon: int, levels: Sequence[float]) -> FloatArray:
        """Average the quantiles of the methods' own: [Q, H]."""
        parts = [member.quantiles(horizon, levels) for member in self.members]
        return self._sum(parts) + self._ahead(horizon)

    @property
    def methods(self) -> dict[str, float]:
        """Weights by method; one that is fitted with and without covariates counts once."""
        total: dict[str, float] = {}
        for member, weight in zip(self.members, self.weights, strict=True):
            total[member.name] = total.get(member.name, 0.0) + float(weight)
        return total

    def _ahead(self, horizon: int) -> FloatArray:
        return np.zeros(horizon) if self.effect is None else self.share * self.effect[:horizon]

    def _sum(self, parts: Sequence[FloatArray]) -> FloatArray:
        total: FloatArray = np.einsum("m,m...->...", np.array(self.weights), np.array(parts))
        return total


def blended(plain: Combination, explained: Combination, share: float) -> Combination:
    """Average two combinations that were tried at the same origins."""
    shares = (1 - share, share)
    rows = plain.past.origins
    first, second = plain.past.errors[:rows], explained.past.errors[:rows]
    mixed = np.where(np.isnan(second), first, (1 - share) * first + share * second)
    errors = np.concatenate([mixed, plain.past.errors[rows:]])
    weights = [
        part * weight
        for part, each in zip(shares, (plain, explained), strict=True)
        for weight in each.weights
    ]
    return Combination(
        plain.members + explained.members,
        tuple(weights),
        replace(plain.past, errors=errors),
        explained.effect,
        share,
    )
