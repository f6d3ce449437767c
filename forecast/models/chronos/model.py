"""Chronos-T5, Chronos-Bolt and Chronos-2 behind the one interface of every model."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
from torch import nn

from forecast.core.errors import InvalidRequest
from forecast.core.types import Forecast, ForecastTask, Series
from forecast.models.base.checks import check_training_series
from forecast.models.base.config import ModelConfig
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.scaling import standardised
from forecast.models.base.torch.model import TunedModel
from forecast.models.base.torch.training import Batch
from forecast.models.base.windows import Windows
from forecast.models.chronos.checkpoint import load_network
from forecast.models.chronos.covariates import for_training
from forecast.models.chronos.network import Network, chunks
from forecast.models.chronos.spec import SPEC, ChronosConfig, ChronosOptions
from forecast.models.chronos.tiny import WRITERS
from forecast.models.spec import Capabilities

_TRAINED_HORIZON = 64  # where no horizon is set: the block of the authors' smaller networks
_SAMPLING = ("temperature", "top_k", "top_p")


class ChronosModel(TunedModel):
    """Whichever kind of Chronos the checkpoint's config.json says it is.

    A call holds at most `config.batch_size` rows; a row is a channel or a covariate.
    """

    spec = SPEC
    config: ChronosConfig
    lora_targets = ("q", "k", "v", "o")

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__(config)
        self._forecaster: Network | None = None

    @property
    def capabilities(self) -> Capabilities:
        return self.forecaster.capabilities if self._forecaster else self.spec.capabilities

    def shared_horizon(self, horizon: int) -> int:
        block = self.forecaster.shared_block
        return -(-horizon // block) * block

    @property
    def forecaster(self) -> Network:
        """The loaded or trained network as what forecasts with it.

        Raises:
            ModelNotReady: none is loaded.
        """
        network, found = self.network, self._forecaster
        assert found is not None
        if found.module is not network:  # it was trained since
            found = self._forecaster = type(found)(network)
        return found

    def check(self, series: Series, task: ForecastTask) -> None:
        super().check(series, task)
        if not self.forecaster.samples:
            _refuse_sampling(task.options)

    def _predict_native(self, batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
        with torch.inference_mode():
            return [
                forecast
                for part in chunks(batch, self.config.batch_size)
                for forecast in self.forecaster.predict(part, task)
            ]

    def _own_levels(self) -> tuple[float, ...]:
        return self.forecaster.levels

    def _training_network(self, train: Sequence[Series]) -> nn.Module:  # noqa: ARG002
        network: nn.Module = self.network
        return network

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        return self.forecaster.loss(network, batch)

    @property
    def training_horizon(self) -> int:
        return min(self.config.horizon or _TRAINED_HORIZON, self.forecaster.block)

    def _windows(self, series: Sequence[Series]) -> Windows:
        """Cut windows of every length of context from the horizon on, as the authors do."""
        forecaster = self.forecaster
        check_training_series(series, forecaster.capabilities)
        named, known = for_training(series, self.config.known_ahead)
        prepared = [standardised(one, forecaster.scaler_of(one.target)) for one in named]
        horizon = self.training_horizon
        longest = max(one.length for one in series)
        return Windows(
            prepared,
            context_length=min(self.max_context, max(longest - horizon, 1)),
            horizon=horizon,
            stride=self.config.stride,
            known_ahead=known,
            least_context=horizon,
        )

    def _save_model_weights(self, path: Path) -> None:
        self.network.save_pretrained(path)
        self._save_calibration(path)

    def _load_model_weights(self, path: Path) -> None:
        self._forecaster = load_network(path, torch.device(self.device))
        self.model_ = self._forecaster.module
        self.calibration_ = ConformalCalibration.load(path)

    @classmethod
    def tiny(cls, variant: str = "bolt") -> Self:
        """Make a tiny checkpoint of one of the three kinds."""
        with tempfile.TemporaryDirectory() as folder:
            WRITERS[variant](Path(folder))
            return cls.load_model(Path(folder), device="cpu")


def _refuse_sampling(options: object) -> None:
    if not isinstance(options, ChronosOptions):
        return
    for name in _SAMPLING:
        if getattr(options, name) is not None:
            raise InvalidRequest.field(
                f"/parameters/model_options/{name}",
                "only Chronos-T5 samples; the checkpoint that is loaded does not: leave it out",
            )
