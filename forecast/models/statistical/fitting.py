"""Fits one series and forecasts it; runs in any process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from forecast.core.frequency import Frequency
from forecast.core.types import FloatArray
from forecast.models.base.covariate_effects import Covariates, notes_on
from forecast.models.base.local_model import Document, key_of
from forecast.models.base.past_errors import UNKNOWN, offsets_of
from forecast.models.statistical import arima
from forecast.models.statistical.choice import Choice
from forecast.models.statistical.combination import Combination
from forecast.models.statistical.keeping import document_of, errors_of, restored
from forecast.models.statistical.methods import CannotFit
from forecast.models.statistical.scaling import Scaler
from forecast.models.statistical.spec import MethodName
from forecast.models.statistical.trial import (
    Trial,
    combine,
    combine_with,
    effect_ahead,
    enter_foundation,
    single,
    trial_of,
)

_MULTIPLY = ("auto_ets", "auto_theta")
_REPEAT = ("naive", "seasonal_naive")


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One series, and what to fit to it.

    Attributes:
        target: [T], the first and the last step observed; NaN is missing.
        gap: missing steps after the last, which are forecast over.
        past: [T, K] covariates, complete; K may be 0.
        future: [gap + H, K].
        names: of the K covariates.
        freq: of the steps, if it is known.
        native: whether quantiles are those of the library.
        kept: what was fitted to this very history before.
    """

    target: FloatArray
    gap: int
    past: FloatArray
    future: FloatArray
    names: tuple[str, ...]
    choice: Choice
    levels: tuple[float, ...]
    freq: Frequency | None = None
    native: bool = False
    kept: Document | None = None

    @property
    def key(self) -> str:
        """Name what the fit depends on."""
        return key_of(f"{self.choice.method} {self.choice.seasons}", self.target, self.past)

    @property
    def steps(self) -> int:
        """Steps from the last observed one to the end of the horizon."""
        return len(self.future)


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A forecast: mean [H], quantiles [Q, H] at the job's levels, and what made it."""

    mean: FloatArray
    quantiles: FloatArray
    warnings: tuple[str, ...]
    methods: Mapping[str, float]


def fit_some(jobs: Sequence[Job]) -> list[Fit]:
    """Fit and forecast; a series that defeats its method gets the naive one and a warning."""
    with np.errstate(all="ignore"):  # what comes of an overflow is checked
        settled = [_settled(job) for job in jobs]
        trials = [_trial(job) for job in settled]
        enter_foundation([trial for trial in trials if trial is not None])
        return [_fit(job, trial) for job, trial in zip(settled, trials, strict=True)]


def _trial(job: Job) -> Trial | None:
    """Begin the combination of a series without covariates."""
    if job.choice.method != "auto" or job.names or job.kept is not None:
        return None
    return trial_of(_scaler(job).apply(job.target), job.choice.seasons, freq=job.freq)


def _fit(job: Job, trial: Trial | None = None) -> Fit:
    try:
        answer = _forecast(job, trial)
    except CannotFit:
        return _forecast(_simpler(job, "could not be fitted to this series"))
    if _is_plausible(job, answer.mean):
        return answer
    simpler = _simpler(job, "left any plausible range of this series")
    return _fit(simpler) if simpler.choice.method == "auto" else _forecast(simpler)


def keep_some(jobs: Sequence[Job]) -> list[Document | None]:
    """Fit without forecasting; None for a series that defeats its method."""
    return [_kept(job) for job in jobs]


def _kept(job: Job) -> Document | None:
    job = replace(_settled(job), native=False)
    scaler = _scaler(job)
    try:
        combination, _ = _fitted(job, scaler)
        return document_of(combination)
    except CannotFit:
        return None


def _settled(job: Job) -> Job:
    """Choose the naive method for a constant, which has nothing else to fit."""
    if np.nanmax(job.target) > np.nanmin(job.target):
        return job
    return replace(job, choice=replace(job.choice, method="naive", seasons=()))


def _simpler(job: Job, why: str) -> Job:
    """Put the combination without covariates, or else a naive method, in place of one."""
    failed = job.choice
    if job.names and failed.method in {"auto", "auto_arima"}:
        note = f"{failed.method} {why}: auto was used, without the covariates {_list(job.names)}"
        alone = replace(failed, method="auto", warnings=(*failed.warnings, note))
        past, future = job.past[:, :0], job.future[:, :0]
        return replace(job, choice=alone, names=(), past=past, future=future, kept=None)
    simpler: MethodName = (
        "seasonal_naive" if failed.seasons and failed.method != "seasonal_naive" else "naive"
    )
    note = f"{failed.method} {why}: {simpler} was used"
    seasons = failed.seasons[:1] if simpler == "seasonal_naive" else ()
    choice = Choice(simpler, seasons, (*failed.warnings, note))
    return replace(job, choice=choice, kept=None)


def _is_plausible(job: Job, mean: FloatArray) -> bool:
    """Tell whether a forecast stays within the range of the history and twice its trend."""
    lowest, highest = float(np.nanmin(job.target)), float(np.nanmax(job.target))
    half = highest / 2 - lowest / 2  # of values near the largest float the whole may be infinite
    room = 1 + 2 * job.steps / len(job.target)
    middle = highest / 2 + lowest / 2
    return bool((np.abs(mean / 2 - middle / 2) <= half * (0.5 + room)).all())


def _scaler(job: Job) -> Scaler:
    observed = job.target[~np.isnan(job.target)]
    method = job.choice.method
    scaler = Scaler.of(observed, keep_sign=method in _MULTIPLY)
    return Scaler(scaler.unit) if method in _REPEAT else scaler


def _forecast(job: Job, trial: Trial | None = None) -> Fit:
    scaler = _scaler(job)
    combination, notes = _fitted(job, scaler, trial)
    mean = combination.forecast(job.steps)
    quantiles, more = _quantiles(job, combination, mean)
    return Fit(
        mean=scaler.restore(mean)[job.gap :],
        quantiles=scaler.restore(quantiles)[:, job.gap :],
        warnings=job.choice.warnings + notes + more + _unused(job),
        methods={name: round(weight, 4) for name, weight in combination.methods.items()},
    )


def _unused(job: Job) -> tuple[str, ...]:
    """Name the covariates of a series that is too short, or too flat, to use any."""
    if not job.names or job.choice.method in {"auto", "auto_arima"}:
        return ()
    return (f"{job.choice.method} does not use the covariates {_list(job.names)}",)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


def _quantiles(
    job: Job, combination: Combination, mean: FloatArray
) -> tuple[FloatArray, tuple[str, ...]]:
    """Give the library's own quantiles [Q, H], or those of the errors at earlier origins."""
    if job.native:
        return np.sort(combination.quantiles(job.steps, job.levels), axis=0), ()
    ahead = np.arange(1, job.steps + 1)
    offsets = offsets_of(combination.past, job.levels, ahead)
    unknown = bool(job.levels) and not combination.past.is_known
    return mean + offsets, (UNKNOWN,) if unknown else ()


def _fitted(
    job: Job, scaler: Scaler, trial: Trial | None = None
) -> tuple[Combination, tuple[str, ...]]:
    """Find what was fitted before, or fit."""
    target = scaler.apply(job.target)
    choice = job.choice
    if choice.method == "auto_arima":
        return _arima(job, target)
    if choice.method == "auto" and job.names:
        return _explained(job, target)
    if job.kept is not None:
        return restored(job.kept), ()
    if choice.method == "auto":
        return combine(trial or trial_of(target, choice.seasons, freq=job.freq)), ()
    return single(choice.method, target, choice.seasons, tried=not job.native), ()


def _explained(job: Job, target: FloatArray) -> tuple[Combination, tuple[str, ...]]:
    """Combine with covariates; name those that are not used."""
    covariates = Covariates.of(np.concatenate([job.past, job.future]), job.names, len(job.past))
    if job.kept is None:
        combination = combine_with(target, job.choice.seasons, covariates, job.freq)
    else:
        combination = restored(job.kept, effect_ahead(target, job.choice.seasons, covariates))
    season = next((each for each in job.choice.seasons if len(target) >= 2 * each), 1)
    share = 0.0 if combination.effect is None else combination.share
    return combination, notes_on(covariates, len(target), season, share)


def _arima(job: Job, target: FloatArray) -> tuple[Combination, tuple[str, ...]]:
    both = _standardised(np.concatenate([job.past, job.future]), len(job.past))  # [T + H, K]
    trial = Trial(target, job.choice.seasons, tried=not job.native and job.kept is None)
    fitted, used = arima.fit(trial.history, both, job.kept)
    lost = [name for column, name in enumerate(job.names) if column not in used]
    notes = (f"covariates that say nothing new were left out: {_list(lost)}",) if lost else ()
    if job.kept is not None:
        return Combination((fitted,), (1.0,), errors_of(job.kept)), notes
    trial.admit(fitted)
    return trial.weighed((fitted.name,)), notes


def _standardised(columns: FloatArray, known: int) -> FloatArray:
    """Standardise each covariate by its first `known` steps."""
    scalers = [Scaler.of(column[:known]) for column in columns.T]
    rows = [scaler.apply(column) for scaler, column in zip(scalers, columns.T, strict=True)]
    return np.array(rows).reshape(columns.shape[1], len(columns)).T
