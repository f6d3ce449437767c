"""The LSTM: trained on your own series, it forecasts quantiles of several channels."""

from typing import Self

import torch
from torch import nn

from forecast.models.base.features import Features
from forecast.models.base.torch.network_model import NetworkModel, joint_loss, standardized_context
from forecast.models.base.torch.training import Batch
from forecast.models.lstm.network import SegmentLstm
from forecast.models.lstm.spec import SPEC, LstmConfig


class LstmModel(NetworkModel):
    """Mean and quantiles of all channels, with past and known covariates."""

    spec = SPEC
    config: LstmConfig
    features: Features = Features()
    shaping_options = (
        "context_length",
        "horizon",
        "segment_length",
        "quantile_levels",
        "hidden_dim",
        "num_layers",
        "channel_mode",
    )

    def _new_network(self) -> SegmentLstm:
        features = self.features
        return SegmentLstm(
            self.config,
            channels=features.num_channels,
            covariates=len(features.covariates),
            known=len(features.known_ahead),
        )

    def _training_loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        if self.config.loss_unit == "series":
            return super()._training_loss(network, batch)
        context, scaler = standardized_context(batch)
        counted = batch.future_observed & (scaler.scale > 0)
        return joint_loss(
            self._run(network, context),
            scaler.apply(batch.future).float(),
            counted,
            self.config.quantile_levels,
        )

    @classmethod
    def tiny(cls) -> Self:
        config = LstmConfig(
            device="cpu", context_length=32, horizon=30, segment_length=4, hidden_dim=8
        )
        model = cls(config)
        model._draw_weights()
        return model
