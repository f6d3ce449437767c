"""Classical statistical models, one fit a series."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from forecast.core.errors import InvalidRequest
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.config import ModelConfig
from forecast.models.base.missing import interpolate
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.base.process_pool import ProcessPool
from forecast.models.statistical import fitting
from forecast.models.statistical.choice import choose, usual_seasons
from forecast.models.statistical.fitting import Fit, Job
from forecast.models.statistical.spec import SPEC, StatisticalOptions

_TAKE_COVARIATES = ("auto", "auto_arima")

# Seconds to fit 1000 steps, roughly, as measured on one core; decides where a batch is fitted.
_SECONDS = {
    "auto_ets": 0.6,
    "auto_arima": 1.0,
    "auto_theta": 0.15,
    "auto_ces": 0.5,
    "mstl": 0.25,
    "seasonal_naive": 0.0,
    "naive": 0.0,
}
_WORTH_A_POOL_S = 1.0


class StatisticalModel(BaseTimeSeriesModel):
    """Statsforecast's models. A batch that takes long is fitted on all cores."""

    spec = SPEC

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__(config)
        self._pool = ProcessPool(fitting.__name__)

    def check(self, series: Series, task: ForecastTask) -> None:
        """Refuse, too, covariates for a method that would silently ignore them."""
        super().check(series, task)
        options = _options(task)
        if series.future_covariates and not _takes_covariates(options):
            if options.ignore_covariates:
                return
            raise InvalidRequest.field(
                "/parameters/model_options/model",
                f"{options.model} cannot use covariates; choose auto_arima or auto, leave the"
                " covariates out, or set model_options.ignore_covariates",
            )

    def close(self) -> None:
        self._pool.close()

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        jobs = [_job(series, task) for series in batch]
        fits = self._answer(jobs)
        return [
            Forecast(
                mean=fit.mean[None],  # [1, H]
                quantiles=np.sort(fit.quantiles, axis=0)[None],  # [1, Q, H]
                quantile_levels=task.quantile_levels,
                warnings=warnings + fit.warnings,
            )
            for fit, (_, warnings) in zip(fits, jobs, strict=True)
        ]

    def _answer(self, jobs: Sequence[tuple[Job, tuple[str, ...]]]) -> list[Fit]:
        seconds = sum(_SECONDS[job.choice.method] * len(job.target) / 1000 for job, _ in jobs)
        if len(jobs) == 1 or seconds < _WORTH_A_POOL_S:
            return [fitting.fit(job) for job, _ in jobs]
        return self._pool.map(fitting.fit, [job for job, _ in jobs])

    def _save_model_weights(self, path: Path) -> None:
        """Write nothing: all there is to know is in the configuration."""

    def _load_model_weights(self, path: Path) -> None:
        """Read nothing; there are no weights."""

    @classmethod
    def tiny(cls) -> Self:
        return cls()


def _options(task: ForecastTask) -> StatisticalOptions:
    options = StatisticalOptions() if task.options is None else task.options
    assert isinstance(options, StatisticalOptions)
    return options


def _takes_covariates(options: StatisticalOptions) -> bool:
    return options.model in _TAKE_COVARIATES


def _job(series: Series, task: ForecastTask) -> tuple[Job, tuple[str, ...]]:
    """Prepare one series, and say what was left out of it."""
    options = _options(task)
    names = sorted(series.future_covariates)
    warnings: tuple[str, ...] = ()
    if names and not _takes_covariates(options):
        warnings, names = (f"ignored covariates: {', '.join(names)}",), []
    begins = int((~np.isnan(series.target[0])).argmax())
    target = interpolate(series.target[0, begins:])
    past = _columns([series.past_covariates[name] for name in names], series.length)
    future = _columns([series.future_covariates[name] for name in names], task.horizon)
    both = interpolate(np.concatenate([past, future]).T).T  # [T + H, K]
    choice = choose(options, len(target), usual_seasons(series), len(names))
    if len(target) == 1:
        note = "one observed step tells nothing of the spread; all quantiles equal it"
        choice = replace(choice, warnings=(*choice.warnings, note))
    job = Job(
        target=target,
        past=both[begins : series.length],
        future=both[series.length :],
        choice=choice,
        levels=task.quantile_levels,
    )
    return job, warnings


def _columns(covariates: Sequence[FloatArray], steps: int) -> FloatArray:
    """Stand covariates side by side: [steps, K], where K may be 0."""
    columns: FloatArray = np.array(covariates, dtype=np.float64).reshape(len(covariates), steps).T
    return columns
