"""The forecasting head: ridge regressions on representations, one for each step ahead."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecast.core.types import FloatArray

ALPHAS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # of the authors' protocol


@dataclass(frozen=True, slots=True, eq=False)
class Ridge:
    """y = x W + b with penalty alpha |W|², for every alpha at the price of one.

    W = V (Λ + alpha)⁻¹ Vᵀ Xᵀ Y, from the eigenvectors V of XᵀX of centred X and Y.

    Attributes:
        vectors: [D, D], V.
        values: [D], Λ.
        moments: [D, M], Vᵀ Xᵀ Y.
        x_mean: [D].
        y_mean: [M].
    """

    vectors: FloatArray
    values: FloatArray
    moments: FloatArray
    x_mean: FloatArray
    y_mean: FloatArray

    @classmethod
    def of(cls, x: FloatArray, y: FloatArray) -> "Ridge":
        """Prepare regressions of y [N, M] on x [N, D]."""
        x_mean, y_mean = x.mean(axis=0, dtype=float), y.mean(axis=0, dtype=float)
        centred = x - x_mean
        values, vectors = np.linalg.eigh(centred.T @ centred)
        moments = vectors.T @ (centred.T @ (y - y_mean))
        return cls(vectors, np.maximum(values, 0.0), moments, x_mean, y_mean)

    def solve(self, alphas: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Find W [D, M] and b [M] for the penalty of each output, [M]."""
        weight = self.vectors @ (self.moments / (self.values[:, None] + alphas))
        return weight, self.y_mean - self.x_mean @ weight


def choose_alphas(
    ridge: Ridge, x: FloatArray, y: FloatArray, horizon: int, alphas: Sequence[float] = ALPHAS
) -> FloatArray:
    """Choose the penalty of each step ahead: the least RMSE + MAE on windows held out.

    Args:
        x: [N, D], of windows that `ridge` was not made from.
        y: [N, M], where M is a number of channels times `horizon`, the steps last.

    Returns:
        [M].
    """
    scores = []
    for alpha in alphas:
        weight, bias = ridge.solve(np.full(y.shape[1], float(alpha)))
        errors = (x @ weight + bias - y).reshape(-1, horizon)  # [N * channels, H]
        scores.append(np.sqrt((errors**2).mean(axis=0)) + np.abs(errors).mean(axis=0))
    best = np.array(alphas, dtype=float)[np.argmin(scores, axis=0)]  # [H]
    return np.tile(best, y.shape[1] // horizon)
