"""A backtest: forecasts from origins in the past with what was known then, measured."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from forecast.core.errors import FileMissing, InvalidRequest
from forecast.core.types import ForecastTask
from forecast.data.parameters import DEFAULT_LEVELS
from forecast.jobs.context import JobContext
from forecast.jobs.plans import JobPlan, read_plan_series
from forecast.jobs.records import JobOutcome, JobProgress
from forecast.models import MODEL_REGISTRY
from forecast.training import results
from forecast.training.forecasting import (
    Origin,
    PastModel,
    forecast_in_child,
    origins_of,
    stored_forecasts,
)
from forecast.training.past_models import Backtest, ChosenModel, Group, groups_of
from forecast.training.plan import BacktestPlan
from forecast.training.trainer import Fetches, Trainer

_AT_ONCE = 4096  # series in one process, where the origins allow

OriginBatch = tuple[ChosenModel, tuple[Origin, ...]]
"""A model, and the origins that one process forecasts from."""


def run_backtest(
    job: JobPlan, context: JobContext, trainer: Trainer, remote: Fetches | None = None
) -> JobOutcome:
    """Forecast from every origin; write `result.json` and `result.parquet` into the job's folder.

    Choosing or fitting a model, forecasting from the origins that share it, and measuring are
    steps of their own: a worker that is killed repeats at most the step it was in.

    Args:
        remote: fetches snapshots that the store lacks; None to do without.

    Raises:
        Stopped: the job is being cancelled.
        ForecastError: no result can be had, such as from weights that have seen what is to be
            forecast.
    """
    spec, plan = MODEL_REGISTRY[job.model_id], BacktestPlan.model_validate(job.work)
    series = read_plan_series(context.folder)
    origins = origins_of(series, plan, min_context=spec.capabilities.min_context)
    levels = DEFAULT_LEVELS if plan.quantile_levels is None else tuple(plan.quantile_levels)
    _check_size(origins, len(levels))
    backtest = Backtest(plan, spec, series, origins, job.warnings, context, trainer, remote)
    task = ForecastTask(plan.horizon, levels)
    batches = [batch for group in groups_of(backtest) for batch in _batches(backtest, group, task)]
    measured = context.step("result", lambda: _measured(backtest, batches, task))
    return JobOutcome(state="succeeded", **measured)


def _batches(backtest: Backtest, group: Group, task: ForecastTask) -> Iterator[OriginBatch]:
    """Choose the model of a group, and forecast; a process for every few thousand series."""
    step = backtest.context.step
    done = step(f"model {group.name}", lambda: group.choose().model_dump(mode="json"))
    chosen = ChosenModel.model_validate(done)
    for origins in _parts(group.origins):
        batch = (chosen, origins)
        step(f"forecast {origins[0].name}", partial(_forecast, backtest, batch, task))
        yield batch


def _parts(origins: Sequence[Origin]) -> Iterator[tuple[Origin, ...]]:
    """Split origins so that no process gets too many series; each gets an origin at least."""
    part: list[Origin] = []
    for origin in origins:
        if part and sum(len(one.parts) for one in (*part, origin)) > _AT_ONCE:
            yield tuple(part)
            part = []
        part.append(origin)
    yield tuple(part)


def _forecast(backtest: Backtest, batch: OriginBatch, task: ForecastTask) -> dict[str, Any]:
    """Forecast from the origins of a batch; the forecasts stay in the folder of the job."""
    chosen, origins = batch
    past = [part.past for origin in origins for part in origin.parts]
    if not past:
        return {}
    spec, context = backtest.spec, backtest.context
    place = {
        "window": origins[0].name,
        "window_number": origins[0].number,
        "windows": len(backtest.origins),
    }

    def report(progress: JobProgress) -> None:
        context.report(progress.model_copy(update=place))

    report(JobProgress(phase="forecasting"))
    with _held(backtest, chosen):
        process, weights = backtest.trainer.process(spec), backtest.weights_of(chosen)
        model = PastModel(spec, process, weights, backtest.plan.config)
        folder = _folder(backtest, origins)
        forecast_in_child(model, past, task, context, folder=folder, on_progress=report)
    return {}


def _held(backtest: Backtest, chosen: ChosenModel) -> AbstractContextManager[object]:
    """Keep a stored version while it is used."""
    if chosen.version is None:
        return nullcontext()
    shelf = backtest.trainer.store.model(backtest.spec.model_id)
    return shelf.hold(shelf.get(chosen.version))


def _folder(backtest: Backtest, origins: Sequence[Origin]) -> Path:
    return backtest.context.work / "forecasts" / f"{origins[0].number:04d}"


def _measured(
    backtest: Backtest, batches: Sequence[OriginBatch], task: ForecastTask
) -> dict[str, Any]:
    """Write the result; what is returned is for the record of the job."""
    backtest.context.report(JobProgress(phase="measuring"))
    pairs = [pair for batch in batches for pair in _pairs(backtest, batch, task)]
    models = {origin.number: chosen for chosen, origins in batches for origin in origins}
    found = results.document(
        backtest.context.job_id,
        backtest.spec.model_id,
        backtest.plan,
        pairs,
        models,
        _warnings(backtest, batches, pairs),
    )
    results.write(backtest.context.folder, found, pairs)
    baseline = found["baselines"][found["best_baseline"]]
    return {
        "metrics": found["metrics"] | {f"baseline_{name}": one for name, one in baseline.items()},
        "message": results.summary(found),
        "warnings": found["warnings"],
    }


def _pairs(backtest: Backtest, batch: OriginBatch, task: ForecastTask) -> list[results.Pair]:
    _, origins = batch
    placed = [(origin, part) for origin in origins for part in origin.parts]
    if not placed:
        return []
    try:
        forecasts = stored_forecasts(_folder(backtest, origins))
    except OSError as error:
        raise FileMissing("the forecasts of this job are gone from its folder; retry it") from error
    return [
        results.pair_of(origin, part, forecast, task)
        for (origin, part), forecast in zip(placed, forecasts, strict=True)
    ]


def _warnings(
    backtest: Backtest, batches: Sequence[OriginBatch], pairs: Sequence[results.Pair]
) -> list[str]:
    """Collect what the reader should know, each thing once."""
    found = [*backtest.warnings]
    found += [warning for chosen, _ in batches for warning in chosen.warnings]
    found += [warning for pair in pairs for warning in pair.forecast.warnings]
    possible = len(backtest.origins) * len(backtest.series)
    if len(pairs) < possible:
        found.append(
            f"{possible - len(pairs)} of {possible} pairs of a window and a series are left out:"
            " too little is observed before the origin, or the horizon after it is not whole"
        )
    unseen = sum(bool(np.isnan(pair.part.actual).all()) for pair in pairs)
    if unseen:
        found.append(
            f"{unseen} of {len(pairs)} pairs of a window and a series measure nothing: no value of"
            " the target is observed in the horizon"
        )
    return list(dict.fromkeys(found))


def _check_size(origins: Sequence[Origin], levels: int) -> None:
    rows = sum(part.actual.size for origin in origins for part in origin.parts)
    values = rows * (2 + levels)
    if values > results.MOST_VALUES:
        raise InvalidRequest.field(
            "/windows",
            f"the forecasts would be {values} numbers, more than {results.MOST_VALUES}; ask for"
            " fewer windows, series or quantile levels, or for a shorter horizon",
        )
