"""What a child does to train a model: load, learn, compare, learn again on all, and save."""

import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from forecast.core.errors import ForecastError
from forecast.core.state import Comparison
from forecast.core.times import Moment
from forecast.core.types import ForecastTask, Series
from forecast.jobs.plans import Validation
from forecast.jobs.series_files import read_series
from forecast.models import MODEL_REGISTRY
from forecast.models.base.conformal import CALIBRATION_FILE
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.base.saved import WEIGHTS_FOLDER, Progress
from forecast.training.processes.call import Call
from forecast.training.splitting import Evaluation, Split, hold_out_newer, split

SERIES = "series.json"
_VALIDATED = "validated"
_REFIT = "refit"
_LEVELS = tuple(decile / 10 for decile in range(1, 10))  # of the WQL that versions are compared by


class Rival(BaseModel):
    """A version of the same family that the new one is compared with.

    Attributes:
        seen: up to when it has seen data; the steps after that are compared on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    weights: Path
    seen: Moment


class Order(BaseModel):
    """One fit. The series lie beside it, and hold nothing but what it may see.

    Attributes:
        weights: folder to start from; None to start from nothing.
        target: empty folder that the trained model gets.
        validation: what is held back of the series to choose the weights by.
        refit: learn all series again for as long, when the weights are chosen.
        rival: to compare with on steps that chose nothing; None for no comparison.
        checkpoints: folder for the state of the unfinished fit, which it is resumed from.
        kept_checkpoints: how many of them are kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: str = "fit"
    model_id: str
    config: dict[str, Any]
    weights: Path | None
    target: Path
    validation: Validation = Validation()
    refit: bool = False
    rival: Rival | None = None
    checkpoints: Path | None = None
    kept_checkpoints: int = 3
    data_reference: str | None = None


def fit(call: Call) -> dict[str, Any]:
    """Do what the order says; nothing is saved if it was stopped.

    Returns:
        The best metrics, the comparison with a rival, and the items without validation.

    Raises:
        ForecastError: it cannot be done.
    """
    order = Order.model_validate(call.order)
    series = read_series(call.folder / SERIES)
    model = _start(order, call)
    evaluation, parts = _parts(series, order, model)
    model.fit(
        parts.train,
        parts.validation or None,
        first_validation_steps=parts.first_validation_steps,
        on_progress=call.hear,
        checkpoints=_checkpoints(order, model),
        data_reference=order.data_reference,
    )
    if call.stopping.is_set() and not _is_shared(model):  # others would wait for this one
        return {}
    comparison = _compared(model, evaluation, order, call) if call.is_first else None
    if order.refit and (parts.validation or evaluation.held_out):
        model = _refitted(model, series, order, call)
    if call.is_first and not call.stopping.is_set():
        model.save_model(order.target)
        _carry(call.folder / _VALIDATED, order.target)
    return {
        "metrics": model.best_metrics_,
        "comparison": comparison and comparison.model_dump(mode="json"),
        "unvalidated": parts.unvalidated,
    }


def loaded(
    model_id: str, weights: Path | None, config: dict[str, Any], call: Call
) -> BaseTimeSeriesModel:
    """Load a model as an order names it."""
    model_class = MODEL_REGISTRY[model_id].model_class()
    return model_class.load_model(weights, **config, **call.operator_config)


def _start(order: Order, call: Call) -> BaseTimeSeriesModel:
    model = loaded(order.model_id, order.weights, order.config, call)
    model.kept_checkpoints = order.kept_checkpoints
    return model


def _parts(
    series: list[Series], order: Order, model: BaseTimeSeriesModel
) -> tuple[Evaluation, Split]:
    """Cut series into what is learned, what chooses the weights, and what compares."""
    evaluation = Evaluation(tuple(series))
    if order.rival is not None:
        evaluation = hold_out_newer(series, order.rival.seen, model.compared_horizon(series[0]))
    if not model.chooses_by_validation:
        return evaluation, Split(evaluation.before)
    return evaluation, split(evaluation.before, order.validation, model.training_horizon)


def _is_shared(model: BaseTimeSeriesModel) -> bool:
    return getattr(model.config, "distributed", None) is not None


def _checkpoints(order: Order, model: BaseTimeSeriesModel) -> Path | None:
    distributed = getattr(model.config, "distributed", None)
    keeps_none = distributed is not None and distributed.strategy == "deepspeed"
    return None if keeps_none else order.checkpoints


# Comparing


def _compared(
    model: BaseTimeSeriesModel, evaluation: Evaluation, order: Order, call: Call
) -> Comparison | None:
    """Measure the new model and its rival on steps that neither has seen.

    A rival that cannot be loaded, or cannot forecast so far, does not fail the fit.
    """
    rival, horizon = order.rival, evaluation.horizon
    if rival is None or not evaluation.held_out:
        return None
    call.hear(Progress(phase="evaluating", step=0))
    found = {"version": rival.name, "seen": rival.seen, "horizon": horizon}
    levels = () if model.capabilities.quantiles == "none" else _LEVELS
    task = ForecastTask(horizon=horizon, quantile_levels=levels)
    try:
        other = loaded(order.model_id, rival.weights, {"device": model.config.device}, call)
        theirs = other.evaluate(evaluation.held_out, task)
        other.close()
    except ForecastError as error:
        return Comparison(**found, origins=0, failed=error.detail)
    return Comparison(
        **found,
        origins=len(evaluation.held_out),
        candidate=model.evaluate(evaluation.held_out, task),
        current=theirs,
    )


# Learning all of it


def _refitted(
    validated: BaseTimeSeriesModel, series: list[Series], order: Order, call: Call
) -> BaseTimeSeriesModel:
    """Learn all series from the same start for as long; the calibration is the validated one."""
    record = validated.training_
    assert record is not None
    if call.is_first:
        validated.save_model(call.folder / _VALIDATED)
    validated.close()
    model = _start(order, call)
    checkpoints = _checkpoints(order, model)

    def hear(progress: Progress) -> bool:
        phase = "refitting" if progress.phase == "training" else progress.phase
        return call.hear(progress.model_copy(update={"phase": phase}))

    return model.refit(
        series,
        record,
        on_progress=hear,
        checkpoints=checkpoints and checkpoints / _REFIT,
        data_reference=order.data_reference,
    )


def _carry(validated: Path, target: Path) -> None:
    """Keep the errors of the validated fit: the refit has seen the data they are measured on."""
    file = validated / WEIGHTS_FOLDER / CALIBRATION_FILE
    if file.exists():
        shutil.copyfile(file, target / WEIGHTS_FOLDER / CALIBRATION_FILE)
