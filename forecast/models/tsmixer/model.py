"""TSMixer behind the one interface of every model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import nn

from forecast.core.errors import InvalidRequest
from forecast.core.types import ForecastTask, Series
from forecast.models.base.config import TrainingMode
from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.fixed_window import Block, FixedWindowModel, Shape
from forecast.models.base.torch_device import LOAD_LOCK
from forecast.models.spec import Capabilities
from forecast.models.tsmixer.network import Architecture, TSMixerNetwork
from forecast.models.tsmixer.spec import SPEC, TSMixerConfig


class TSMixerModel(FixedWindowModel):
    """Forecasts the channels it was trained on, together."""

    spec = SPEC
    config: TSMixerConfig
    model_: TSMixerNetwork | None = None
    calibrates_per_channel = True

    @property
    def capabilities(self) -> Capabilities:
        able = super().capabilities
        if self.model_ is None:
            return able
        return replace(able, multivariate=self.model_.architecture.num_channels > 1)

    def check(self, series: Series, task: ForecastTask) -> None:
        super().check(series, task)
        self._check_channels(series)

    def _check_channels(self, series: Series) -> None:
        trained: Architecture = self.network.architecture
        named = bool(trained.channels and series.channels)
        if series.num_channels == trained.num_channels and (
            not named or series.channels == trained.channels
        ):
            return
        names = f" ({', '.join(trained.channels)})" if trained.channels else ""
        raise InvalidRequest(
            f"series {series.item_id!r} has {series.num_channels} channels; this model was"
            f" trained on {trained.num_channels}{names}, in this order"
        )

    def _loaded_shape(self) -> Shape:
        architecture = self.network.architecture
        return Shape(architecture.context_length, architecture.horizon)

    def _configured_shape(self) -> Shape:
        return Shape(self.config.context_length, self.config.horizon)

    def _training_network(self, train: Sequence[Series]) -> nn.Module:
        if self.config.training_mode is not TrainingMode.FROM_SCRATCH:
            for series in train:
                self._check_channels(series)
            network: nn.Module = self.network
            return network
        return TSMixerNetwork(architecture_of(self.config, train[0]))

    def _run(
        self,
        network: nn.Module,
        past: torch.Tensor,
        observed: torch.Tensor,
        levels: Sequence[float] = (),  # noqa: ARG002 -- it has no quantiles
    ) -> Block:
        return Block(network(past, observed))

    def _save_model_weights(self, path: Path) -> None:
        self.network.save(path)
        self._save_calibration(path)

    def _load_model_weights(self, path: Path) -> None:
        self.model_ = TSMixerNetwork.load(path).to(self.device)
        self.calibration_ = ConformalCalibration.load(path)

    @classmethod
    def tiny(cls) -> Self:
        """Make a network of one channel that reads 48 steps and forecasts 16 at once."""
        model = cls(
            TSMixerConfig(context_length=48, horizon=16, hidden_dim=8, dropout=0.0, device="cpu")
        )
        series = Series(target=np.zeros((1, 1)))
        with LOAD_LOCK, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            model.model_ = TSMixerNetwork(architecture_of(model.config, series)).eval()
        model.calibration_ = ConformalCalibration.assumed(16)
        return model


def architecture_of(config: TSMixerConfig, series: Series) -> Architecture:
    """Size a network by the options and by the channels of a series."""
    return Architecture(
        context_length=config.context_length,
        horizon=config.horizon,
        num_channels=series.num_channels,
        channels=series.channels,
        hidden_dim=config.hidden_dim,
        num_layers=config.num_layers,
        dropout=config.dropout,
    )
