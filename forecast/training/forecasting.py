"""The parent's side of forecasting windows of the past: what it sends is cut already."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forecast.core.errors import ForecastError
from forecast.core.types import Forecast, ForecastTask, Series
from forecast.jobs.context import JobContext
from forecast.jobs.records import JobError, JobProgress
from forecast.jobs.series_files import write_series
from forecast.models.spec import ModelSpec
from forecast.training.processes.call import ORDER
from forecast.training.processes.child_process import OnProgress, run_child
from forecast.training.processes.forecast_files import read_forecasts
from forecast.training.processes.forecasting import ForecastOrder, forecasts_of
from forecast.training.processes.options import ProcessOptions

_IN_A_FILE = 2048  # series


@dataclass(frozen=True, slots=True)
class PastModel:
    """A model to forecast the past with, and how its process is run.

    Attributes:
        weights: its folder; None for one that forecasts as it is.
        config: what wins over the configuration in the folder, such as `device`.
    """

    spec: ModelSpec
    process: ProcessOptions
    weights: Path | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


def forecast_in_child(
    model: PastModel,
    series: Sequence[Series],
    task: ForecastTask,
    folder: Path,
    context: JobContext,
    on_progress: OnProgress | None = None,
) -> list[Forecast]:
    """Forecast series, which hold nothing after their origins, in a process of the model's own.

    What is sent and what comes back stays in `folder`, for `kept_forecasts`.

    Raises:
        Stopped: the job is to be cancelled.
        WorkFailed: the model cannot be loaded, or cannot forecast a series.
        MissingLibrary: the model's environment is not there.
    """
    order = _written(model, series, task, folder)
    run_child(model.spec, folder.absolute(), model.process, context, on_progress or _unheard)
    return _read(folder, order)


def _written(
    model: PastModel, series: Sequence[Series], task: ForecastTask, folder: Path
) -> ForecastOrder:
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for first in range(0, len(series), _IN_A_FILE):
        files.append(f"series-{first:08d}.json")
        write_series(folder / files[-1], series[first : first + _IN_A_FILE])
    order = ForecastOrder(
        model_id=model.spec.model_id,
        config=dict(model.config),
        weights=None if model.weights is None else model.weights.absolute(),
        files=tuple(files),
        horizon=task.horizon,
        quantile_levels=task.quantile_levels,
    )
    (folder / ORDER).write_text(order.model_dump_json())
    return order


def kept_forecasts(folder: Path) -> list[Forecast]:
    """Read the forecasts that a child left, in the order of the series sent.

    Raises:
        OSError: they are not there any more.
    """
    return _read(folder, ForecastOrder.model_validate_json((folder / ORDER).read_bytes()))


def _read(folder: Path, order: ForecastOrder) -> list[Forecast]:
    return [one for file in order.files for one in read_forecasts(folder / forecasts_of(file))]


def context_outside_a_job(folder: Path, should_stop: Callable[[], bool]) -> JobContext:
    """Make what a process is run with where there is no job; nothing outlives a failure."""
    folder.mkdir(parents=True, exist_ok=True)
    return JobContext(
        job_id=folder.name,
        folder=folder,
        step=lambda _, work: work(),
        report=_unheard,
        should_stop=should_stop,
    )


def error_of(error: JobError) -> ForecastError:
    """Make the error that a process told of."""
    kinds = [ForecastError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    kind = next((kind for kind in kinds if kind.code == error.code), ForecastError)
    return kind(error.detail)


def _unheard(progress: JobProgress) -> None:
    """Let a process go on unheard."""
