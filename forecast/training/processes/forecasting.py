"""What a child does to forecast windows of the past: load one model, and run them all."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from forecast.core.types import Forecast, ForecastTask, Series
from forecast.jobs.series_files import read_series
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.base.saved import Progress
from forecast.training.processes.call import Call
from forecast.training.processes.fitting import loaded
from forecast.training.processes.forecast_files import write_forecasts

AT_ONCE = 256  # series in one call of a model


class ForecastOrder(BaseModel):
    """One model, and files of series that hold nothing after their origins.

    Attributes:
        weights: folder of the model; None for one that forecasts as it is.
        files: of series, in the order's folder; the forecasts of each go beside it, by
            `forecasts_of`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: str = "forecast"
    model_id: str
    config: dict[str, Any]
    weights: Path | None
    files: tuple[str, ...]
    horizon: int
    quantile_levels: tuple[float, ...] = ()


def forecasts_of(file: str) -> str:
    """Name the file of the forecasts of a file of series."""
    return str(Path(file).with_suffix(".npz"))


def forecast(call: Call) -> dict[str, Any]:
    """Forecast every file, in order; ends early where somebody wants it to.

    Raises:
        ForecastError: the model cannot be loaded, or cannot forecast a series.
    """
    order = ForecastOrder.model_validate(call.order)
    model = loaded(order.model_id, order.weights, order.config, call)
    task = ForecastTask(horizon=order.horizon, quantile_levels=order.quantile_levels)
    for number, file in enumerate(order.files, start=1):
        forecasts = forecast_all(model, read_series(call.folder / file), task)
        write_forecasts(call.folder / forecasts_of(file), forecasts)
        if not call.hear(Progress(phase="forecasting", step=number, of=len(order.files))):
            break
    return {}


def forecast_all(
    model: BaseTimeSeriesModel, series: Sequence[Series], task: ForecastTask
) -> list[Forecast]:
    """Forecast series of any layouts and lengths, those that can share a call together."""
    task = replace(task, options=model.spec.options())
    answers: dict[int, Forecast] = {}
    for shared, members in _calls(model, series, task):
        forecasts = model.predict([series[index] for index in members], shared)
        for index, one in zip(members, forecasts, strict=True):
            answers[index] = one.first(task.horizon)
    return [answers[index] for index in range(len(series))]


def _calls(
    model: BaseTimeSeriesModel, series: Sequence[Series], task: ForecastTask
) -> Iterator[tuple[ForecastTask, list[int]]]:
    groups: dict[Any, list[int]] = {}
    for index, one in enumerate(series):
        model.check(one, task)
        groups.setdefault(model.batch_key(one, task), []).append(index)
    for key, members in groups.items():
        for first in range(0, len(members), AT_ONCE):
            yield key.task, members[first : first + AT_ONCE]
