"""A backtest: forecasts from origins in the past with what was known then, measured."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from forecast.core.errors import FileMissing, InvalidRequest
from forecast.core.types import ForecastTask
from forecast.jobs.context import JobContext, WorkFailed
from forecast.jobs.durable import once
from forecast.jobs.plans import BacktestPlan, read_plan_series
from forecast.jobs.records import JobOutcome, JobProgress
from forecast.models import MODEL_REGISTRY
from forecast.training.backtests import results
from forecast.training.backtests.models import Backtest, Chosen, Group, groups_of, weights_of
from forecast.training.backtests.windows import Window, windows_of
from forecast.training.fits import Fits
from forecast.training.forecasting import PastModel, forecast_in_child, kept_forecasts
from forecast.training.past_models import Fetches

_AT_ONCE = 4096  # series in one process, where the windows allow

Call = tuple[Chosen, tuple[Window, ...]]
"""A model, and the windows that one process of it forecasts."""


def run_backtest(
    plan: BacktestPlan, context: JobContext, fits: Fits, sync: Fetches | None = None
) -> JobOutcome:
    """Forecast every window, and write `result.json` and `result.parquet` into the job's folder.

    Choosing or fitting a model, forecasting the windows that share it, and measuring are steps
    of their own: a worker that is killed repeats no more than the one that it was in.

    Args:
        sync: fetches snapshots that the store lacks; None to do without.

    Raises:
        Stopped: the job is to be cancelled.
        WorkFailed, ForecastError: why there is no result, such as weights that have seen what is
            to be forecast.
    """
    spec = MODEL_REGISTRY[plan.model_id]
    series = read_plan_series(context.folder)
    windows = windows_of(series, plan, min_context=spec.capabilities.min_context)
    _check_size(windows, plan)
    backtest = Backtest(plan, spec, series, windows, context, fits, sync)
    calls = [call for group in groups_of(backtest) for call in _calls(backtest, group)]
    measured = once(context, "result", lambda: _measured(backtest, calls))
    return JobOutcome(state="succeeded", **measured)


def _calls(backtest: Backtest, group: Group) -> Iterator[Call]:
    """Choose the model of a group, and forecast its windows, a process for every few thousand."""
    context = backtest.context
    done = once(context, f"model {group.name}", partial(_choose, group))
    for part in _parts(group.windows):
        call = (Chosen.model_validate(done), part)
        once(context, f"forecast {part[0].name}", partial(_forecast, backtest, call))
        yield call


def _choose(group: Group) -> dict[str, Any]:
    return group.choose().model_dump(mode="json")


def _parts(windows: Sequence[Window]) -> Iterator[tuple[Window, ...]]:
    """Split windows so that no process gets too many series; each gets a window at least."""
    part: list[Window] = []
    for window in windows:
        if part and sum(len(one.parts) for one in (*part, window)) > _AT_ONCE:
            yield tuple(part)
            part = []
        part.append(window)
    yield tuple(part)


def _forecast(backtest: Backtest, call: Call) -> dict[str, Any]:
    """Forecast the windows of a call; the forecasts stay in the folder of the job."""
    chosen, windows = call
    past = [part.past for window in windows for part in window.parts]
    if not past:
        return {}
    spec, context = backtest.spec, backtest.context
    place = {
        "window": windows[0].name,
        "window_number": windows[0].number,
        "windows": len(backtest.windows),
    }

    def report(progress: JobProgress) -> None:
        context.report(progress.model_copy(update=place))

    report(JobProgress(phase="forecasting"))
    with _held(backtest, chosen):
        model = PastModel(
            spec, backtest.fits.process(spec), weights_of(backtest, chosen), backtest.plan.config
        )
        folder = _folder(backtest, windows)
        forecast_in_child(model, past, _task(backtest), folder, context, report)
    return {}


def _held(backtest: Backtest, chosen: Chosen) -> AbstractContextManager[object]:
    """Keep a version of the store while it is used."""
    if chosen.version is None:
        return nullcontext()
    shelf = backtest.fits.store.model(backtest.spec.model_id)
    return shelf.hold(shelf.get(chosen.version))


def _folder(backtest: Backtest, windows: Sequence[Window]) -> Path:
    return backtest.context.work / "forecasts" / f"{windows[0].number:04d}"


def _task(backtest: Backtest) -> ForecastTask:
    return ForecastTask(backtest.plan.horizon, backtest.plan.quantile_levels)


def _measured(backtest: Backtest, calls: Sequence[Call]) -> dict[str, Any]:
    """Write the result; what is given is for the record of the job."""
    plan, context, task = backtest.plan, backtest.context, _task(backtest)
    context.report(JobProgress(phase="measuring"))
    pairs = [pair for call in calls for pair in _pairs(backtest, call, task)]
    warnings = _warnings(backtest, calls, pairs)
    facts = results.Facts(
        job_id=context.job_id,
        model_id=plan.model_id,
        refit=plan.refit,
        step=plan.step,
        task=task,
        data_reference=plan.data_reference,
        warnings=warnings,
    )
    used = {window.number: _used(chosen) for chosen, windows in calls for window in windows}
    found = results.document(facts, pairs, used)
    results.write(context.folder, found, pairs)
    baseline = found["baselines"][found["best_baseline"]]
    return {
        "metrics": found["metrics"] | {f"baseline_{name}": one for name, one in baseline.items()},
        "message": _message(found),
        "warnings": warnings,
    }


def _pairs(backtest: Backtest, call: Call, task: ForecastTask) -> list[results.Pair]:
    _, windows = call
    placed = [(window, part) for window in windows for part in window.parts]
    if not placed:
        return []
    try:
        forecasts = kept_forecasts(_folder(backtest, windows))
    except OSError as error:
        raise WorkFailed(
            FileMissing.code, "the forecasts of this job are gone from its folder; retry it"
        ) from error
    return [
        results.pair_of(window, part, forecast, task)
        for (window, part), forecast in zip(placed, forecasts, strict=True)
    ]


def _used(chosen: Chosen) -> results.Used:
    cutoff = None if chosen.cutoff is None else chosen.cutoff.isoformat()
    return results.Used(
        version=chosen.version,
        source=chosen.source,
        cutoff=cutoff,
        sha256=chosen.sha256,
        fitted=chosen.fit is not None,
    )


def _warnings(
    backtest: Backtest, calls: Sequence[Call], pairs: Sequence[results.Pair]
) -> tuple[str, ...]:
    """Collect what the reader should know, each thing once."""
    found = [*backtest.plan.warnings]
    found += [warning for chosen, _ in calls for warning in chosen.warnings]
    found += [warning for pair in pairs for warning in pair.forecast.warnings]
    possible = len(backtest.windows) * len(backtest.series)
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
    return tuple(dict.fromkeys(found))


def _message(found: dict[str, Any]) -> str:
    """Compare the model with the best of the baselines."""
    best = found["best_baseline"]
    metric = results.headline(found["metrics"], found["baselines"])
    ours, theirs = (
        one.get(metric, float("nan")) for one in (found["metrics"], found["baselines"][best])
    )
    said = f"{metric.upper()} {ours:.4g} over {found['windows']} windows"
    beside = f"the best baseline, the {best.replace('_', ' ')}, has {theirs:.4g}"
    if not theirs > 0:
        return f"{said}; {beside}"
    share = 100 * abs(ours / theirs - 1)
    return f"{said}, {share:.1f} % {'better' if ours < theirs else 'worse'}: {beside}"


def _check_size(windows: Sequence[Window], plan: BacktestPlan) -> None:
    rows = sum(part.actual.size for window in windows for part in window.parts)
    values = rows * (2 + len(plan.quantile_levels))
    if values > results.MOST_VALUES:
        raise InvalidRequest.field(
            "/windows",
            f"the forecasts would be {values} numbers, more than {results.MOST_VALUES}; ask for"
            " fewer windows, series or quantile levels, or for a shorter horizon",
        )
