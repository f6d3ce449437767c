"""What a child does to train a model: load, learn, and save where it was told."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from forecast.jobs.series_files import read_series
from forecast.models import MODEL_REGISTRY
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.training.processes.call import Call

TRAIN, VALIDATION = "train.json", "validation.json"


class Order(BaseModel):
    """One fit. The series lie beside it, and hold nothing but what it may see.

    Attributes:
        weights: folder to start from; None to start from nothing.
        target: empty folder that the trained model gets.
        checkpoints: folder for the state of the unfinished fit, which it is resumed from.
        kept_checkpoints: how many of them are kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: str = "fit"
    model_id: str
    config: dict[str, Any]
    weights: Path | None
    target: Path
    checkpoints: Path | None = None
    kept_checkpoints: int = 3
    data_reference: str | None = None


def fit(call: Call) -> dict[str, Any]:
    """Do what the order says, and give the best metrics; nothing is saved if it was stopped.

    Raises:
        ForecastError: it cannot be done.
    """
    order = Order.model_validate(call.order)
    model = loaded(order.model_id, order.weights, order.config, call)
    model.kept_checkpoints = order.kept_checkpoints
    model.fit(
        read_series(call.folder / TRAIN),
        read_series(call.folder / VALIDATION) or None,
        on_progress=call.hear,
        checkpoints=_checkpoints(order, model),
        data_reference=order.data_reference,
    )
    if call.is_first and not call.stopping.is_set():
        model.save_model(order.target)
    return {"metrics": model.best_metrics_}


def loaded(
    model_id: str, weights: Path | None, config: dict[str, Any], call: Call
) -> BaseTimeSeriesModel:
    """Load a model as an order names it."""
    model_class = MODEL_REGISTRY[model_id].model_class()
    return model_class.load_model(weights, **config, **call.operator_config)


def _checkpoints(order: Order, model: BaseTimeSeriesModel) -> Path | None:
    distributed = getattr(model.config, "distributed", None)
    keeps_none = distributed is not None and distributed.strategy == "deepspeed"
    return None if keeps_none else order.checkpoints
