"""A real model, small enough to reason about: it repeats the last value plus an offset."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from forecast.core.errors import BadData
from forecast.core.types import Forecast, ForecastTask, Series
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.spec import Capabilities, License, ModelSpec

POISON = -666.0


class ToyModel(BaseTimeSeriesModel):
    """Waits at gates that tests may close; breaks on a poisoned series."""

    loading: ClassVar[threading.Event] = threading.Event()
    entered: ClassVar[threading.Semaphore] = threading.Semaphore(0)
    predicting: ClassVar[threading.Event] = threading.Event()
    computing: ClassVar[threading.Semaphore] = threading.Semaphore(0)
    closed: ClassVar[list["ToyModel"]] = []

    offset = 0.0

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        type(self).computing.release()
        assert self.predicting.wait(60)
        if any((series.target == POISON).any() for series in batch):
            raise RuntimeError("a secret detail of the library")
        return [self._repeat(series, task) for series in batch]

    def _repeat(self, series: Series, task: ForecastTask) -> Forecast:
        last = series.target[:, -1:] + self.offset
        mean = np.repeat(last, task.horizon, axis=1)  # [C, H]
        levels = task.quantile_levels
        spread = np.asarray(levels, dtype=float)[None, :, None] - 0.5
        return Forecast(mean, mean[:, None] + spread, levels)

    def close(self) -> None:
        type(self).closed.append(self)

    def _save_model_weights(self, path: Path) -> None:
        write_offset(path, self.offset)

    def _load_model_weights(self, path: Path) -> None:
        type(self).entered.release()
        assert self.loading.wait(60)
        try:
            self.offset = float(load_file(path / "model.safetensors")["offset"])
        except SafetensorError as error:
            raise BadData("model.safetensors cannot be read") from error

    @classmethod
    def tiny(cls) -> Self:
        return cls()


def write_offset(path: Path, offset: float) -> None:
    """Write the weights of a toy that adds `offset`."""
    path.mkdir(parents=True, exist_ok=True)
    save_file({"offset": np.asarray(offset)}, path / "model.safetensors")


def spec_of(**changes: object) -> ModelSpec:
    fields: dict[str, object] = {
        "model_id": "toy",
        "name": "Toy",
        "version": "1",
        "description": "Repeats the last value",
        "default_port": 8999,
        "model": "tests.serving.toy_model:ToyModel",
        "weights": "local:toy",
        "capabilities": Capabilities(max_horizon=100),
        "license": License("MIT", True, "https://example.org/license"),
        "extra": "toy",
    }
    return ModelSpec(**(fields | changes))  # type: ignore[arg-type]


ToyModel.spec = spec_of()
ToyModel.predicting.set()
