"""ARIMA with regressors: covariates, and harmonics in place of a long season."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import statsforecast.models as library

from forecast.core.types import FloatArray
from forecast.models.base.local_model import Document
from forecast.models.statistical.history import History
from forecast.models.statistical.keeping import restore
from forecast.models.statistical.methods import (
    CannotFit,
    central_levels,
    column_of,
    finite,
    hindsight_of,
    library_errors,
)

# Seasonal ARIMA needs states in proportion to the season; beyond, harmonics are regressors
# (dynamic harmonic regression, FPP3, 10.5). R approximates the search from here on too.
_LONGEST_SEASON = 24
_MOST_PAIRS = 10
_LONGEST_EXACT_SEASON = 12
_LONGEST_EXACT_HISTORY = 150
_NAME = "auto_arima"


@dataclass(frozen=True, slots=True, eq=False)
class Arima:
    """A fitted ARIMA.

    Attributes:
        season: of the library's model; 1 for none.
        regressors: [T + H, K] over the history and what is ahead.
    """

    model: Any
    season: int
    length: int
    regressors: FloatArray
    name: str = _NAME

    @property
    def state(self) -> Any:
        return self.model.model_

    @property
    def hindsight(self) -> float:
        return hindsight_of(self.length)

    def forecast(self, horizon: int) -> FloatArray:
        with library_errors(_NAME):
            ahead = self._rows(self.length, horizon)
            return finite(self.model.predict(h=horizon, X=ahead)["mean"])

    def quantiles(self, horizon: int, levels: Sequence[float]) -> FloatArray:
        with library_errors(_NAME):
            ahead = self._rows(self.length, horizon)
            answer = self.model.predict(h=horizon, X=ahead, level=central_levels(levels))
            rows = [answer[column_of(level)] for level in levels]
            return finite(np.array(rows, dtype=float).reshape(len(rows), horizon))

    def continued(self, history: History, horizon: int) -> FloatArray:
        with library_errors(_NAME):
            until = len(history.values)
            past, ahead = self._rows(0, until), self._rows(until, horizon)
            answer = self.model.forward(y=history.values, h=horizon, X=past, X_future=ahead)
            return finite(answer["mean"])

    def _rows(self, start: int, steps: int) -> FloatArray | None:
        if self.regressors.shape[1] == 0:
            return None
        rows = self.regressors[start : start + steps]
        if len(rows) < steps:
            raise CannotFit("the covariates end before the horizon")
        return rows


def fit(
    history: History, covariates: FloatArray, kept: Document | None = None
) -> tuple[Arima, tuple[int, ...]]:
    """Fit to a complete history.

    Args:
        covariates: [T + H, K], standardised.
        kept: what was fitted to this very history before.

    Returns:
        What was fitted, and the columns of the covariates that were used.

    Raises:
        CannotFit: the library could not.
    """
    length = len(history.values)
    season = history.seasons[0] if history.seasons else 1
    columns = tuple(independent(covariates[:length]))
    used = covariates[:, columns]
    if season > _LONGEST_SEASON:
        used = with_harmonics(history.values, used, season)
        season = 1
    if length < 10 + used.shape[1]:
        raise CannotFit(f"auto_arima needs {10 + used.shape[1]} steps")
    with library_errors(_NAME):
        model = make(season, length)
        if kept is None:
            model.fit(history.values, X=used[:length] if used.size else None)
        else:
            restore(model, kept)
    return Arima(model, season, length, used), columns


def make(season: int, length: int) -> Any:
    """Make the library's model; a long history or season is searched approximately."""
    hard = length > _LONGEST_EXACT_HISTORY or season > _LONGEST_EXACT_SEASON
    return library.AutoARIMA(season_length=season, approximation=hard)


def with_harmonics(values: FloatArray, covariates: FloatArray, season: int) -> FloatArray:
    """Add the sines and cosines of a season to covariates [T + H, K].

    As many pairs as have the least AICc in a regression with errors of order 1 (Cochrane &
    Orcutt 1949); none, if that is best.
    """
    length = len(values)
    most = min(_MOST_PAIRS, season // 2, max((length - covariates.shape[1]) // 8, 0))
    waves = harmonics(len(covariates), season, most)  # [T + H, 2 * most]
    design = np.column_stack([np.ones(length), np.arange(length) / length, covariates[:length]])
    full = np.column_stack([design, waves[:length]])
    rest = values - full @ np.linalg.lstsq(full, values, rcond=None)[0]
    size = float(rest[:-1] @ rest[:-1])
    order = float(rest[1:] @ rest[:-1]) / size if size > 0 else 0.0
    white = full[1:] - order * full[:-1]
    target = values[1:] - order * values[:-1]
    costs = []
    for pairs in range(most + 1):
        columns = white[:, : design.shape[1] + 2 * pairs]
        off = target - columns @ np.linalg.lstsq(columns, target, rcond=None)[0]
        costs.append(_aicc(float(off @ off), len(target), columns.shape[1] + 2))
    return np.column_stack([covariates, waves[:, : 2 * int(np.argmin(costs))]])


def _aicc(squares: float, count: int, parameters: int) -> float:
    penalty = 2 * parameters * count / max(count - parameters - 1, 1)
    return count * float(np.log(max(squares / count, 1e-300))) + penalty


def harmonics(steps: int, season: int, pairs: int) -> FloatArray:
    """Sines and cosines of a season, pair by pair: [steps, 2 * pairs]."""
    order = np.arange(1, pairs + 1)
    angle = 2 * np.pi * np.outer(np.arange(steps), order) / season  # [steps, pairs]
    both = np.stack([np.sin(angle), np.cos(angle)], axis=2)
    return both.reshape(steps, 2 * pairs)


def independent(columns: FloatArray) -> Sequence[int]:
    """Index the columns [T, K] that are not a constant or a sum of multiples of earlier ones.

    Gram-Schmidt on centred columns: what is left of a dependent one is rounding error.
    """
    centred = columns - columns.mean(axis=0, keepdims=True)
    basis = np.zeros((len(columns), 0))
    kept: list[int] = []
    for index, column in enumerate(centred.T):
        rest = column - basis @ (basis.T @ column)
        rest = rest - basis @ (basis.T @ rest)
        size = float(np.linalg.norm(rest))
        if size > 1e-8 * float(np.linalg.norm(columns[:, index])):
            kept.append(index)
            basis = np.column_stack([basis, rest / size])
    return kept
