"""Fits Prophet to one series and samples its future; runs in a worker of the pool."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import NormalDist
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from forecast.core.errors import BadModelOutput, InvalidRequest
from forecast.core.frequency import Timestamps
from forecast.core.types import FloatArray
from forecast.models.base.local_model import Document, key_of
from forecast.models.prophet.spec import ProphetOptions

if TYPE_CHECKING:
    from prophet import Prophet

_SEEDS = 2**32  # as many as numpy's global generator knows
_LONGEST_FIT_S = 60  # of one run of the optimiser
_NEWTON_ROWS = 100  # fewer are fitted by Newton's method
_NEWTON_STEPS = 1000  # 100 to 300 converge; without noise in the series no number does
_NARROW = 0.01  # a range below it, relative to the largest value, needs the scaling minmax


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One series, and what to fit to it.

    Attributes:
        times: [T + H] datetime64[s], made up where `has_time` is false.
        target: [T]; NaN is missing.
        regressors: [T + H, K], nothing missing; K may be 0.
        levels: the Q quantile levels.
        num_samples: paths drawn for the quantiles.
        kept: what `keep` has fitted to this very history before.
    """

    item_id: str
    times: Timestamps
    has_time: bool
    target: FloatArray
    regressors: FloatArray
    options: ProphetOptions
    levels: tuple[float, ...]
    num_samples: int
    seed: int
    kept: Document | None = None

    @property
    def key(self) -> str:
        """Name what the fit depends on."""
        facts = self.options.model_dump_json(exclude={"ignore_covariates"})
        length = len(self.target)
        return key_of(
            f"{facts} {self.has_time}",
            self.times[:length],
            self.target,
            self.regressors[:length],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A forecast: mean [H], quantiles [Q, H] at the job's levels, and what Prophet warned of."""

    mean: FloatArray
    quantiles: FloatArray
    warnings: tuple[str, ...] = ()


def fit(job: Job) -> Fit:
    """Fit, forecast, and take the quantiles of sampled paths.

    The samples come from numpy's global generator, the only one that Prophet knows. It is
    seeded for each series, so that an answer depends on nothing but the series and the seed.
    Where the optimiser fails, the trend is flat; where it fails again, the forecast is the mean.

    Raises:
        InvalidRequest: Prophet refuses an option; says why.
    """
    np.random.seed(job.seed % _SEEDS)
    with _warnings_of("prophet") as warnings:
        table = _table(job)
        try:
            model = _fitted(job, table) if job.kept is None else _restored(job.kept, warnings)
        except BadModelOutput as error:
            told = f"{error.detail}; its forecast is the mean of the series"
            return replace(_mean(job), warnings=(*warnings, told))
        mean, quantiles = _sample(model, table[len(job.target) :], job)
    return Fit(mean, quantiles, tuple(warnings))


def keep(job: Job) -> Document:
    """Fit without forecasting: Prophet's own JSON, and what it warned of.

    Raises:
        InvalidRequest, BadModelOutput: as `fit` does.
    """
    from forecast.models.prophet.library import model_to_json

    with _warnings_of("prophet") as warnings:
        model = _fitted(job, _table(job))
    return {"model": model_to_json(model), "warnings": warnings}


def _fitted(job: Job, table: pd.DataFrame) -> "Prophet":
    """Fit as the options say; where the optimiser fails, with a flat trend."""
    logger = logging.getLogger("prophet")
    for warning in _limits_missed(job):
        logger.warning(warning)
    history = table[: len(job.target)].assign(y=job.target)
    try:
        return _fit(_build(job), history, job)
    except BadModelOutput as error:
        logger.warning(f"{error.detail}; its trend is taken to be flat")
    flat = {"growth": "flat", "n_changepoints": 0, "cap": None, "floor": 0.0}
    simpler = replace(job, options=job.options.model_copy(update=flat))
    return _fit(_build(simpler), history, simpler)


def _limits_missed(job: Job) -> Iterator[str]:
    """Name the limits of logistic growth that the observed values lie beyond."""
    if job.options.growth != "logistic" or job.options.cap is None:
        return
    largest, smallest = np.nanmax(job.target), np.nanmin(job.target)
    if largest > job.options.cap:
        yield (
            f"cap {job.options.cap:g} lies below values of series {job.item_id!r}, up to"
            f" {largest:g}: logistic growth cannot reach them; send a cap above them"
        )
    if smallest < job.options.floor:
        yield (
            f"floor {job.options.floor:g} lies above values of series {job.item_id!r}, down to"
            f" {smallest:g}: logistic growth cannot reach them; send a floor below them"
        )


def _mean(job: Job) -> Fit:
    """Forecast the mean, with the spread of the values around it."""
    horizon = len(job.times) - len(job.target)
    level, spread = np.nanmean(job.target), np.nanstd(job.target)
    offsets = np.array([NormalDist().inv_cdf(one) for one in job.levels]) * spread  # [Q]
    quantiles = np.broadcast_to(level + offsets[:, None], (len(offsets), horizon))
    return Fit(np.full(horizon, level), quantiles)


def _restored(kept: Document, warnings: list[str]) -> "Prophet":
    from forecast.models.prophet.library import Prophet, model_from_json

    warnings.extend(kept["warnings"])
    model: Prophet = model_from_json(kept["model"])
    return model


def _sample(model: "Prophet", future: pd.DataFrame, job: Job) -> tuple[FloatArray, FloatArray]:
    """Forecast the mean [H] and the quantiles [Q, H]."""
    model.uncertainty_samples = 0  # `predict` would sample, for an interval nobody asked
    mean = model.predict(future)["yhat"].to_numpy(dtype=np.float64)
    if not job.levels:
        return mean, np.empty((0, len(future)))
    model.uncertainty_samples = job.num_samples
    paths = model.predictive_samples(future)["yhat"]  # [H, num_samples]
    return mean, np.quantile(paths, job.levels, axis=1)


@contextmanager
def _warnings_of(logger_name: str) -> Iterator[list[str]]:
    """Collect what a library logs as a warning, each once, for the caller of the forecast."""
    heard: list[str] = []
    logger = logging.getLogger(logger_name)
    ear = _Ear(heard)
    logger.addHandler(ear)
    try:
        yield heard
    finally:
        logger.removeHandler(ear)


class _Ear(logging.Handler):
    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        if (text := record.getMessage()) not in self._heard:
            self._heard.append(text)


def _build(job: Job) -> "Prophet":
    from forecast.models.prophet.library import Prophet  # only workers pay for it

    options = job.options
    try:
        model = Prophet(
            **_seasons(options, has_time=job.has_time),
            growth=options.growth,
            n_changepoints=options.n_changepoints,
            changepoint_range=options.changepoint_range,
            changepoint_prior_scale=options.changepoint_prior_scale,
            seasonality_mode=options.seasonality_mode,
            seasonality_prior_scale=options.seasonality_prior_scale,
            holidays=_holidays(options),
            holidays_mode=options.holidays_mode,
            holidays_prior_scale=options.holidays_prior_scale,
            scaling=_scaling(job),
        )
        _add_parts(model, options, job.regressors.shape[1])
    except (ValueError, AttributeError, NotImplementedError) as error:
        raise InvalidRequest.field("/parameters/model_options", f"Prophet says: {error}") from error
    return model


def _scaling(job: Job) -> Literal["absmax", "minmax"]:
    """Choose the scaling: small steps on a large level are lost in `absmax`."""
    if job.options.scaling != "auto":
        return job.options.scaling
    largest = np.nanmax(np.abs(job.target))
    is_narrow = np.nanmax(job.target) - np.nanmin(job.target) < _NARROW * largest
    return "minmax" if is_narrow and job.options.growth != "logistic" else "absmax"


def _seasons(options: ProphetOptions, *, has_time: bool) -> dict[str, Any]:
    """Choose the built-in seasons; on made-up times there are none."""
    names = ("yearly_seasonality", "weekly_seasonality", "daily_seasonality")
    return {name: getattr(options, name) if has_time else False for name in names}


def _holidays(options: ProphetOptions) -> pd.DataFrame | None:
    if not options.holidays:
        return None
    rows = [
        (holiday.name, day, holiday.lower_window, holiday.upper_window)
        for holiday in options.holidays
        for day in holiday.dates
    ]
    table = pd.DataFrame(rows, columns=["holiday", "ds", "lower_window", "upper_window"])
    return table.assign(ds=pd.to_datetime(table["ds"]))


def _add_parts(model: "Prophet", options: ProphetOptions, regressors: int) -> None:
    for season in options.seasonalities:
        model.add_seasonality(**season.model_dump())
    if options.country_holidays:
        model.add_country_holidays(options.country_holidays.upper())
        # An unknown country would be found out only by the fit.
        from prophet.make_holidays import make_holidays_df

        make_holidays_df([2020], options.country_holidays.upper())
    for index in range(regressors):
        model.add_regressor(
            f"regressor_{index}",  # some names of covariates are taken, such as trend
            prior_scale=options.regressor_prior_scale,
            mode=options.regressor_mode,
        )


def _table(job: Job) -> pd.DataFrame:
    """Lay out the T + H rows as Prophet reads them, but for the target."""
    columns = {f"regressor_{index}": row for index, row in enumerate(job.regressors.T)}
    table = pd.DataFrame({"ds": job.times} | columns)
    if job.options.growth == "logistic":
        table = table.assign(cap=job.options.cap, floor=job.options.floor)
    return table


def _fit(model: "Prophet", table: pd.DataFrame, job: Job) -> "Prophet":
    limits = {"timeout": _LONGEST_FIT_S}
    if np.isfinite(job.target).sum() < _NEWTON_ROWS:
        limits["iter"] = _NEWTON_STEPS
    # Stan's files go with the folder; by default they stay as long as the worker lives.
    with TemporaryDirectory(prefix="prophet-") as folder:
        try:
            model.fit(table, output_dir=folder, **limits)
        except (RuntimeError, TimeoutError) as error:
            raise BadModelOutput(f"Prophet's optimiser failed on series {job.item_id!r}") from error
    return model
