"""Classical statistical models, one fit a series."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self, TypeVar

import numpy as np

from forecast.core.errors import InvalidRequest
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.config import ModelConfig
from forecast.models.base.local_model import Document, LocalModel
from forecast.models.base.process_pool import ProcessPool
from forecast.models.base.scaling import interpolate
from forecast.models.statistical import fitting
from forecast.models.statistical.choice import choose
from forecast.models.statistical.fitting import Fit, Job
from forecast.models.statistical.spec import SPEC, StatisticalConfig, StatisticalOptions

_TAKE_COVARIATES = ("auto", "auto_arima")

# Seconds to fit 1000 steps, roughly, as measured on one core; decides where a batch is fitted.
_SECONDS = {
    "auto": 0.3,
    "auto_ets": 0.6,
    "auto_arima": 1.0,
    "auto_theta": 0.15,
    "auto_ces": 0.5,
    "mstl": 0.25,
    "seasonal_naive": 0.0,
    "naive": 0.0,
}
_WORTH_A_POOL_S = 1.0
_TOGETHER = 16  # jobs of one call: the foundation model is several times as fast with so many

Result = TypeVar("Result")


class StatisticalModel(LocalModel):
    """Statsforecast's models. A batch that takes long is fitted on all cores."""

    spec = SPEC
    config: StatisticalConfig

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__(config)
        self._pool = ProcessPool(fitting.__name__)

    def check(self, series: Series, task: ForecastTask) -> None:
        """Refuse, too, covariates for a method that would silently ignore them."""
        super().check(series, task)
        options = self._options(task)
        if series.future_covariates and not _takes_covariates(options):
            if getattr(task.options, "ignore_covariates", False):
                return
            raise InvalidRequest.field(
                "/parameters/model_options/model",
                f"{options.model} cannot use covariates; choose auto_arima or auto, leave the"
                " covariates out, or set model_options.ignore_covariates",
            )

    def close(self) -> None:
        self._pool.close()

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        jobs = [self._job(series, task) for series in batch]
        fits = self._answer(jobs)
        return [
            Forecast(
                mean=fit.mean[None],  # [1, H]
                quantiles=fit.quantiles[None],  # [1, Q, H]
                quantile_levels=task.quantile_levels,
                warnings=warnings + fit.warnings,
                intervals=task.intervals or "conformal",
                methods=fit.methods,
            )
            for fit, (_, warnings) in zip(fits, jobs, strict=True)
        ]

    def _fit_some(self, series: Sequence[Series], task: ForecastTask) -> dict[str, Document]:
        jobs = [self._job(one, task)[0] for one in series]
        fitted = self._map(fitting.keep_some, jobs)
        kept = zip(jobs, fitted, strict=True)
        return {job.key: document for job, document in kept if document is not None}

    def _job(self, series: Series, task: ForecastTask) -> tuple[Job, tuple[str, ...]]:
        job, warnings = _job(series, task, self._options(task))
        return (
            replace(job, kept=self.cached_fits_.get(job.key)) if self.cached_fits_ else job
        ), warnings

    def _answer(self, jobs: Sequence[tuple[Job, tuple[str, ...]]]) -> list[Fit]:
        return self._map(fitting.fit_some, [job for job, _ in jobs])

    def _map(
        self, function: Callable[[Sequence[Job]], list[Result]], jobs: Sequence[Job]
    ) -> list[Result]:
        """Call a function on all jobs, some at a time in other processes where that takes long."""
        costs = (_SECONDS[job.choice.method] * len(job.target) for job in jobs if not job.kept)
        if len(jobs) == 1 or sum(costs) / 1000 < _WORTH_A_POOL_S:
            return function(jobs)
        together = min(-(-len(jobs) // (4 * self._pool.max_workers)), _TOGETHER)
        parts = [jobs[begin : begin + together] for begin in range(0, len(jobs), together)]
        return [result for part in self._pool.map(function, parts) for result in part]

    def _options(self, task: ForecastTask) -> StatisticalOptions:
        options = self._options_of(task)
        assert isinstance(options, StatisticalOptions)
        return options

    @classmethod
    def tiny(cls) -> Self:
        return cls()


def _takes_covariates(options: StatisticalOptions) -> bool:
    return options.model in _TAKE_COVARIATES


def _job(
    series: Series, task: ForecastTask, options: StatisticalOptions
) -> tuple[Job, tuple[str, ...]]:
    """Prepare one series, and say what was left out of it."""
    names = sorted(series.future_covariates)
    warnings: tuple[str, ...] = ()
    if names and not _takes_covariates(options):
        warnings, names = (f"ignored covariates: {', '.join(names)}",), []
    observed = np.flatnonzero(~np.isnan(series.target[0]))
    begins, ends = int(observed[0]), int(observed[-1]) + 1
    target = series.target[0, begins:ends]
    past = _columns([series.past_covariates[name] for name in names], series.length)
    future = _columns([series.future_covariates[name] for name in names], task.horizon)
    both = interpolate(np.concatenate([past, future]).T).T  # [T + H, K]
    job = Job(
        target=target,
        gap=series.length - ends,
        past=both[begins:ends],
        future=both[ends:],
        names=tuple(names),
        choice=choose(options, len(target), series.seasons, len(names)),
        levels=task.quantile_levels,
        freq=series.freq,
        native=task.intervals == "native",
    )
    return job, warnings


def _columns(covariates: Sequence[FloatArray], steps: int) -> FloatArray:
    """Stand covariates side by side: [steps, K], where K may be 0."""
    columns: FloatArray = np.array(covariates, dtype=np.float64).reshape(len(covariates), steps).T
    return columns
