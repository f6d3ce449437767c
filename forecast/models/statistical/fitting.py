"""Fits one series with statsforecast and forecasts it; runs in any process."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import statsforecast.models as library

from forecast.core.types import FloatArray
from forecast.models.base.kept_fits import Document, key_of
from forecast.models.statistical.choice import Choice, Fitted
from forecast.models.statistical.keeping import document_of, restore

# Not a class of its own for any of them: what the library raises on a series it cannot fit.
_LIBRARY_ERRORS = (
    ArithmeticError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)

# Seasonal ARIMA needs states in proportion to the season; beyond, harmonics are regressors
# (dynamic harmonic regression, FPP3, 10.5). R approximates the search from here on too.
_LONGEST_ARIMA_SEASON = 24
_HARMONICS = 5
_LONGEST_EXACT_SEASON = 12
_LONGEST_EXACT_HISTORY = 150


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One series, and what to fit to it.

    Attributes:
        target: [T], nothing missing.
        past: [T, K] covariates; K may be 0.
        future: [H, K].
        kept: what was fitted to this very history before.
    """

    target: FloatArray
    past: FloatArray
    future: FloatArray
    choice: Choice
    levels: tuple[float, ...]
    kept: Document | None = None

    @property
    def key(self) -> str:
        """Name what the fit depends on."""
        return key_of(f"{self.choice.method} {self.choice.seasons}", self.target, self.past)

    @property
    def horizon(self) -> int:
        return len(self.future)


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A forecast: mean [H], quantiles [Q, H] at the job's levels."""

    mean: FloatArray
    quantiles: FloatArray
    warnings: tuple[str, ...]


def fit(job: Job) -> Fit:
    """Fit and forecast; a series that defeats its method gets the naive one and a warning."""
    job = _settled(job)
    with _quiet():
        try:
            answer = _forecast(job)
            if np.isfinite(answer.mean).all() and np.isfinite(answer.quantiles).all():
                return answer
        except _LIBRARY_ERRORS:
            pass
        return _forecast(_naive(job))


def keep(job: Job) -> Document | None:
    """Fit without forecasting; None for a series that defeats its method."""
    job = _settled(job)
    past, _, _ = _regressors(job)
    with _quiet():
        try:
            return document_of(_method(job).fit(job.target, X=past if past.shape[1] else None))
        except _LIBRARY_ERRORS:
            return None


def _settled(job: Job) -> Job:
    """Choose the naive method for a constant, which has nothing else to fit."""
    if np.ptp(job.target) > 0:
        return job
    return replace(job, choice=replace(job.choice, method="naive", seasons=()))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep still what the library warns of.

    A perfect fit has no residuals to divide by, and a search may stop early; what comes of
    it is checked where it is used.
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _naive(job: Job) -> Job:
    failed = job.choice
    simpler: Fitted = (
        "seasonal_naive" if failed.seasons and failed.method != "seasonal_naive" else "naive"
    )
    note = f"{failed.method} could not be fitted to this series: {simpler} was used"
    seasons = failed.seasons[:1] if simpler == "seasonal_naive" else ()
    choice = Choice(simpler, seasons, (*failed.warnings, note))
    return replace(job, choice=choice, kept=None)


def _forecast(job: Job) -> Fit:
    past, future, notes = _regressors(job)
    levels = sorted({central_level(level) for level in job.levels})
    answer = _answer(job, past, future, levels)
    rows = [np.asarray(answer[_column(level)], dtype=np.float64) for level in job.levels]
    return Fit(
        mean=np.asarray(answer["mean"], dtype=np.float64),
        quantiles=np.array(rows).reshape(len(rows), job.horizon),  # [Q, H]
        warnings=job.choice.warnings + notes,
    )


def _answer(
    job: Job, past: FloatArray, future: FloatArray, levels: list[float]
) -> dict[str, FloatArray]:
    """Forecast by what was fitted before, or fit and forecast; the library says the same."""
    method = _method(job)
    arguments: dict[str, Any] = {"h": job.horizon, "level": levels or None}
    with_covariates = past.shape[1] > 0
    answer: dict[str, FloatArray]
    if job.kept is None:
        arguments |= {"X": past, "X_future": future} if with_covariates else {}
        answer = method.forecast(y=job.target, **arguments)
    else:
        restore(method, job.kept)
        answer = method.predict(X=future if with_covariates else None, **arguments)
    return answer


def central_level(quantile: float) -> float:
    """Name the central interval, in percent, of which a quantile is one end: 0.1 → 80.0."""
    return round(abs(2 * quantile - 1) * 100, 8)


def _column(quantile: float) -> str:
    return f"{'lo' if quantile < 0.5 else 'hi'}-{central_level(quantile)}"


def _method(job: Job) -> Any:
    """Make the library's model; its season is 1 where there is none."""
    season = job.choice.seasons[0] if job.choice.seasons else 1
    match job.choice.method:
        case "auto_ets":
            return library.AutoETS(season_length=season)
        case "auto_theta":
            return library.AutoTheta(season_length=season)
        case "auto_ces":
            return library.AutoCES(season_length=season)
        case "mstl":
            return library.MSTL(season_length=list(job.choice.seasons))
        case "seasonal_naive":
            return library.SeasonalNaive(season_length=season)
        case "auto_arima":
            return _arima(season, len(job.target))
        case "naive":
            return library.Naive()


def _arima(season: int, length: int) -> Any:
    hard = length > _LONGEST_EXACT_HISTORY or season > _LONGEST_EXACT_SEASON
    return library.AutoARIMA(
        season_length=season if season <= _LONGEST_ARIMA_SEASON else 1, approximation=hard
    )


def _regressors(job: Job) -> tuple[FloatArray, FloatArray, tuple[str, ...]]:
    """Gather what ARIMA regresses on: covariates [T, K] and [H, K], and harmonics."""
    if job.choice.method != "auto_arima":
        return job.past[:, :0], job.future[:, :0], ()
    both = np.concatenate([job.past, job.future])  # [T + H, K]
    named = both.shape[1]
    if job.choice.seasons and job.choice.seasons[0] > _LONGEST_ARIMA_SEASON:
        both = np.concatenate([both, harmonics(len(both), job.choice.seasons[0])], axis=1)
    kept = independent(both[: len(job.target)])
    lost = named - sum(column < named for column in kept)
    notes = (f"{lost} covariates say nothing new in the past and were left out",) if lost else ()
    both = both[:, kept]
    return both[: len(job.target)], both[len(job.target) :], notes


def harmonics(steps: int, season: int, pairs: int = _HARMONICS) -> FloatArray:
    """Sines and cosines of a season: [steps, 2 * pairs]."""
    order = np.arange(1, min(pairs, season // 2) + 1)
    angle = 2 * np.pi * np.outer(np.arange(steps), order) / season
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)


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
