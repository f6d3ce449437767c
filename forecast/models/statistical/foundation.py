"""The foundation model that comes with the gateway, as one more candidate.

It is found in the registry and asked as any caller would ask it: no family knows another's
folder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from forecast.core.frequency import Frequency
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.models import MODEL_REGISTRY
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.statistical.history import History
from forecast.models.statistical.methods import finite, library_errors

FOUNDATION = "sprout"


@dataclass(frozen=True, slots=True, eq=False)
class Foundation:
    """A model that learns nothing from the series, and forecasts it from all origins at once.

    Attributes:
        values: [T], the whole history.
        points: the forecasts that were made already, by the length of the history before them.
    """

    values: FloatArray
    freq: Frequency | None
    points: Mapping[int, FloatArray]
    name: str = FOUNDATION
    season: int = 1

    @property
    def hindsight(self) -> float:
        return 1.0

    @property
    def state(self) -> Any:
        """What it is made again from."""
        return {"values": self.values, "freq": self.freq and self.freq.alias}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """Make it again."""
        alias = state["freq"]
        return cls(state["values"], Frequency.parse(alias) if alias else None, {})

    def forecast(self, horizon: int) -> FloatArray:
        made = self.points.get(len(self.values))
        if made is not None and horizon <= len(made):
            return made[:horizon]
        (one,) = _forecasts([self._series], ForecastTask(horizon))
        return finite(one.mean[0])

    def quantiles(self, horizon: int, levels: Sequence[float]) -> FloatArray:
        task = ForecastTask(horizon, tuple(levels))
        (one,) = _forecasts([self._series], task)
        levels_by_step: FloatArray = one.quantiles[0]
        return levels_by_step

    def continued(self, history: History, horizon: int) -> FloatArray:
        return self.points[len(history.values)][:horizon]

    @property
    def _series(self) -> Series:
        return Series(self.values[None], freq=self.freq)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What the model is asked of one series.

    Attributes:
        ends: the whole history, and those until earlier origins.
        block: steps to forecast from each.
    """

    ends: tuple[History, ...]
    freq: Frequency | None
    block: int

    @property
    def horizon(self) -> int:
        return max(end.gap for end in self.ends) + self.block


def foundations(questions: Sequence[Question]) -> list[Foundation]:
    """Forecast several series from all their origins: together, which is several times as fast.

    Raises:
        CannotFit: the model could not.
    """
    answers: dict[int, Foundation] = {}
    for horizon in {question.horizon for question in questions}:
        asked = {i: one for i, one in enumerate(questions) if one.horizon == horizon}
        series = [
            Series(end.values[None], freq=one.freq) for one in asked.values() for end in one.ends
        ]
        made = iter(_forecasts(series, ForecastTask(horizon)))
        for number, one in asked.items():
            points = {len(end.values): next(made).mean[0] for end in one.ends}
            answers[number] = Foundation(one.ends[0].values, one.freq, points)
    return [answers[number] for number in range(len(questions))]


def _forecasts(series: Sequence[Series], task: ForecastTask) -> list[Forecast]:
    with library_errors(FOUNDATION):
        return _model().predict(series, task)


@cache
def _model() -> BaseTimeSeriesModel:
    """Load it, once in each process."""
    spec = MODEL_REGISTRY[FOUNDATION]
    return spec.model_class().load_model(spec.packaged_weights)
