"""What a child does to say how good a model is: forecast what was held out, and measure."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from forecast.core.types import ForecastTask
from forecast.jobs.series_files import read_series
from forecast.training.processes.call import Call
from forecast.training.processes.fitting import loaded

HELD_OUT = "held_out.json"


class ScoreOrder(BaseModel):
    """Compare models on the same series: each forecasts the last `horizon` steps of all.

    Attributes:
        weights: a folder for each model, by a name of the caller's.
        device: for all of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: str = "score"
    model_id: str
    weights: dict[str, Path]
    device: str = "auto"
    horizon: int


def score(call: Call) -> dict[str, Any]:
    """Measure each model, by its name.

    Raises:
        ForecastError: a model cannot be loaded, or cannot forecast so far.
    """
    order = ScoreOrder.model_validate(call.order)
    held_out = read_series(call.folder / HELD_OUT)
    task = ForecastTask(horizon=order.horizon, quantile_levels=())
    found = {}
    for name, weights in order.weights.items():
        model = loaded(order.model_id, weights, {"device": order.device}, call)
        found[name] = model.evaluate(held_out, task)
        model.close()
    return {"metrics": found}
