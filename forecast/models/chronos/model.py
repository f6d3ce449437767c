"""Chronos-T5, Chronos-Bolt and Chronos-2 behind the one interface of every model."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch

from forecast.core.errors import BadData, InvalidRequest, ModelNotReady
from forecast.core.types import Forecast, ForecastTask, Series, is_categorical
from forecast.models.base.config import ModelConfig
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.base.torch_device import resolve_device
from forecast.models.chronos.checkpoint import load_network
from forecast.models.chronos.network import Network, chunks
from forecast.models.chronos.spec import SPEC, ChronosOptions
from forecast.models.chronos.tiny import WRITERS
from forecast.models.spec import Capabilities

_LARGEST = 1e18  # its square, in the scaling, is still a float32
_SAMPLING = ("temperature", "top_k", "top_p")


class ChronosModel(BaseTimeSeriesModel):
    """Whichever kind of Chronos the checkpoint's config.json says it is.

    A call holds at most `config.batch_size` rows; a row is a channel or a covariate.
    """

    spec = SPEC

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__(config)
        self._network: Network | None = None

    def _find_device(self) -> str:
        return str(resolve_device(self.config.device))

    @property
    def capabilities(self) -> Capabilities:
        return self._network.capabilities if self._network else self.spec.capabilities

    def shared_horizon(self, horizon: int) -> int:
        block = self.network.shared_block
        return -(-horizon // block) * block

    @property
    def network(self) -> Network:
        """The loaded checkpoint.

        Raises:
            ModelNotReady: none is loaded.
        """
        if self._network is None:
            raise ModelNotReady("this model holds no weights; load a checkpoint first")
        return self._network

    def check(self, series: Series, task: ForecastTask) -> None:
        super().check(series, task)
        _check_size(series)
        if not self.network.samples:
            _refuse_sampling(task.options)

    def _predict(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        with torch.inference_mode():
            return [
                forecast
                for part in chunks(batch, self.config.batch_size)
                for forecast in self.network.predict(part, task)
            ]

    def _save_model_weights(self, path: Path) -> None:
        self.network.module.save_pretrained(path)

    def _load_model_weights(self, path: Path) -> None:
        self._network = load_network(path, torch.device(self.device))

    @classmethod
    def tiny(cls, variant: str = "bolt") -> Self:
        """Make a tiny checkpoint of one of the three kinds."""
        with tempfile.TemporaryDirectory() as folder:
            WRITERS[variant](Path(folder))
            return cls.load_model(Path(folder), device="cpu")


def _check_size(series: Series) -> None:
    """Refuse what 32 bits do not hold: it would come out as NaN, for its neighbours too."""
    covariates = (*series.past_covariates.values(), *series.future_covariates.values())
    numbers = [series.target, *(values for values in covariates if not is_categorical(values))]
    if any((np.abs(values) > _LARGEST).any() for values in numbers):
        raise BadData(
            f"series {series.item_id!r} holds a value beyond ±{_LARGEST:g}, more than this model's"
            " 32-bit arithmetic can scale; send it in larger units"
        )


def _refuse_sampling(options: object) -> None:
    if not isinstance(options, ChronosOptions):
        return
    for name in _SAMPLING:
        if getattr(options, name) is not None:
            raise InvalidRequest.field(
                f"/parameters/model_options/{name}",
                "only Chronos-T5 samples; the checkpoint that is loaded does not: leave it out",
            )
