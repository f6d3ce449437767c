"""TSMixer behind the one interface of every model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch

from forecast.models.base.conformal import ConformalCalibration
from forecast.models.base.features import Features, TrainedScale
from forecast.models.base.torch.network_model import (
    LONGEST_UNROLL,
    Block,
    Context,
    Lengths,
    NetworkModel,
)
from forecast.models.tsmixer.network import Architecture, TSMixerNetwork
from forecast.models.tsmixer.spec import SPEC, TSMixerConfig


class TSMixerModel(NetworkModel):
    """Forecasts the channels it was trained on, together."""

    spec = SPEC
    config: TSMixerConfig
    model_: TSMixerNetwork | None = None
    features: Features = Features()
    calibrates_per_channel = True
    standardizes_windows = False
    most_blocks = LONGEST_UNROLL

    def _loaded_lengths(self) -> Lengths:
        architecture: Architecture = self.network.architecture
        return Lengths(architecture.context_length, architecture.horizon)

    def _new_network(self) -> TSMixerNetwork:
        """Size a network by the options and by the channels that are trained on."""
        config = self.config
        return TSMixerNetwork(
            Architecture(
                context_length=config.context_length,
                horizon=config.horizon,
                num_channels=self.features.num_channels,
                channels=self.features.channels,
                hidden_dim=config.hidden_dim,
                num_layers=config.num_layers,
                dropout=config.dropout,
            )
        )

    def _run(
        self,
        network: torch.nn.Module,
        context: Context,
        levels: Sequence[float] = (),  # noqa: ARG002 -- it has no quantiles
    ) -> Block:
        return Block(network(context.past, context.observed))

    def _save_model_weights(self, path: Path) -> None:
        self.network.save(path)
        self._save_calibration(path)

    def _load_model_weights(self, path: Path) -> None:
        network = TSMixerNetwork.load(path)
        architecture = network.architecture
        scales = (TrainedScale(),) * architecture.num_channels
        self.features = Features(channels=architecture.channels, targets=scales)
        self.model_ = network.to(self.device)
        self.calibration_ = ConformalCalibration.load(path)

    @classmethod
    def tiny(cls) -> Self:
        """Make a network of one channel that reads 48 steps and forecasts 16 at once."""
        model = cls(
            TSMixerConfig(context_length=48, horizon=16, hidden_dim=8, dropout=0.0, device="cpu")
        )
        model._draw_weights()
        model.calibration_ = ConformalCalibration.assumed(16)
        return model
