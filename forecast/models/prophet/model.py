"""Prophet, one fit a series, in processes beside this one."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Self

import numpy as np

from forecast.core.errors import InvalidRequest
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models.base.checks import constant_covariates, left_out
from forecast.models.base.config import ModelConfig
from forecast.models.base.local_model import Document, LocalModel
from forecast.models.base.past_errors import calibrated_on_the_past
from forecast.models.base.process_pool import ProcessPool
from forecast.models.base.scaling import interpolate
from forecast.models.prophet import fitting
from forecast.models.prophet.fitting import Job
from forecast.models.prophet.spec import SPEC, ProphetConfig, ProphetOptions

if find_spec("prophet") is None:  # only the workers import it, but this process can tell why
    raise ModuleNotFoundError("No module named 'prophet'", name="prophet")

_LIBRARY = "forecast.models.prophet.library"
_NUM_SAMPLES = 1000
ORIGINS = 3
"""Earlier origins that a series is fitted at, beside its end, to calibrate its quantiles."""
_BLOCK = 16  # steps by which a past is forecast at least: enough errors to be judged by
_MOST_SAMPLES = 10_000
_MOST_DRAWS = 20_000_000  # num_samples * horizon: 0.16 GB, which Prophet holds several times
_MADE_UP_START = np.datetime64("2000-01-01T00:00:00")
_DAY = np.timedelta64(86_400, "s")


class ProphetModel(LocalModel):
    """Fits in workers only.

    So a batch uses all cores, and the global generator that Prophet draws from is a worker's,
    which no other thread shares.
    """

    spec = SPEC
    config: ProphetConfig

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__(config)
        self._pool = ProcessPool(_LIBRARY)

    def check(self, series: Series, task: ForecastTask) -> None:
        """Refuse, too, options that need time, and too many samples."""
        super().check(series, task)
        options = self._options(task)
        if series.future_timestamps(task.horizon) is None and options.needs_time:
            raise InvalidRequest(
                f"{', '.join(options.needs_time)} need to know the time: send start and freq"
                f" with series {series.item_id!r}"
            )
        _check_samples(task)

    def close(self) -> None:
        self._pool.close()

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        if task.intervals != "native" and task.quantile_levels:
            block, least = max(task.horizon, _BLOCK), self.capabilities.min_context
            return calibrated_on_the_past(
                batch, task, self._predict, origins=ORIGINS, block=block, least=least
            )
        fits = self._pool.map(fitting.fit, [self._job(series, task) for series in batch])
        return [
            Forecast(
                mean=fit.mean[None],  # [1, H]
                quantiles=fit.quantiles[None],  # [1, Q, H]
                quantile_levels=task.quantile_levels,
                warnings=fit.warnings + left_out(constant_covariates(series)),
                intervals="native",
            )
            for series, fit in zip(batch, fits, strict=True)
        ]

    def _fit_some(self, series: Sequence[Series], task: ForecastTask) -> dict[str, Document]:
        jobs = [self._job(one, task) for one in series]
        kept = zip(jobs, self._pool.map(fitting.keep, jobs), strict=True)
        return {job.key: document for job, document in kept}

    def _job(self, series: Series, task: ForecastTask) -> Job:
        job = _job(series, task, self._options(task))
        return replace(job, kept=self.cached_fits_.get(job.key)) if self.cached_fits_ else job

    def _options(self, task: ForecastTask) -> ProphetOptions:
        options = self._options_of(task)
        assert isinstance(options, ProphetOptions)
        return options

    @classmethod
    def tiny(cls) -> Self:
        return cls()


def _check_samples(task: ForecastTask) -> None:
    samples = task.num_samples or _NUM_SAMPLES
    most = min(_MOST_SAMPLES, _MOST_DRAWS // task.horizon)
    if samples > most:
        raise InvalidRequest.field(
            "/parameters/num_samples",
            f"{samples} samples are more than {most}, the limit at horizon {task.horizon}",
        )


def _job(series: Series, task: ForecastTask, options: ProphetOptions) -> Job:
    past, future = series.past_timestamps, series.future_timestamps(task.horizon)
    if past is None or future is None:
        times = _MADE_UP_START + np.arange(series.length + task.horizon) * _DAY
    else:
        times = np.concatenate([past, future])
    return Job(
        item_id=series.item_id,
        times=times,
        has_time=past is not None,
        target=series.target[0],
        regressors=_regressors(series, task.horizon),
        options=options,
        levels=task.quantile_levels,
        num_samples=task.num_samples or _NUM_SAMPLES,
        seed=task.seed,
    )


def _regressors(series: Series, horizon: int) -> FloatArray:
    """Stand the covariates side by side, past above future, gaps filled: [T + H, K]."""
    names = sorted(series.future_covariates.keys() - set(constant_covariates(series)))
    rows = [
        np.concatenate([series.past_covariates[name], series.future_covariates[name]])
        for name in names
    ]
    table = np.array(rows, dtype=np.float64).reshape(len(names), series.length + horizon)
    return interpolate(table).T
