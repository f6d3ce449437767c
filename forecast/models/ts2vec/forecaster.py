"""From windows to forecasts: level, encoder, and the ridge regressions as one linear layer."""

import torch
from torch import nn

from forecast.models.base.scaling import Scaler
from forecast.models.base.torch.network_model import filled
from forecast.models.ts2vec.network import Encoder
from forecast.models.ts2vec.spec import Ts2VecConfig


class Forecaster(nn.Module):
    """Encodes windows, and forecasts linearly from the representation of their last step.

    `forward` is the encoder alone, which is what the contrast trains; the head is solved for.

    Args:
        channels: C.
        covariates: K, read beside the channels.
    """

    def __init__(self, channels: int, covariates: int, config: Ts2VecConfig) -> None:
        super().__init__()
        self.config = config
        together = channels if config.channel_mode == "joint" else 1
        self.encoder = Encoder(
            together + covariates,
            hidden=config.hidden_dim,
            depth=config.num_layers,
            outputs=config.representation_dim,
            dropout=config.dropout,
        )
        self.head = nn.Linear(config.representation_dim, together * config.horizon)
        self.head.requires_grad_(False)

    def forward(self, rows: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """Represent every step: [N, D, T] and [N, T] → [N, T, representation]."""
        represented: torch.Tensor = self.encoder(rows, observed)
        return represented

    def last(
        self, past: torch.Tensor, observed: torch.Tensor, covariates: torch.Tensor
    ) -> torch.Tensor:
        """Represent the last step of windows: [N, representation]."""
        represented = self.forward(*rows_of(self.config, past, observed, covariates))
        return represented[:, -1]

    def forecast(
        self, past: torch.Tensor, observed: torch.Tensor, covariates: torch.Tensor
    ) -> torch.Tensor:
        """Forecast [B, C, H], in the unit of `past`."""
        made = self.head(self.last(past, observed, covariates))
        relative = made.view(*past.shape[:2], self.config.horizon)
        return scaler_of(self.config, past, observed).restore(relative).float()


def scaler_of(
    config: Ts2VecConfig, past: torch.Tensor, observed: torch.Tensor
) -> Scaler[torch.Tensor]:
    """Measure windows [B, C, T]; the scale of a flat one, and of all if not asked for, is 1."""
    if config.normalize_instances:
        own = Scaler.of(past, observed)
        return Scaler(own.center, own.scale.where(own.scale > 0, 1.0))
    zeros = past.new_zeros((*past.shape[:2], 1))
    return Scaler(zeros, torch.ones_like(zeros))


def rows_of(
    config: Ts2VecConfig, past: torch.Tensor, observed: torch.Tensor, covariates: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put side by side what is encoded together.

    Args:
        past: [B, C, T], 0 where missing.
        observed: [B, C, T].
        covariates: [B, K, T].

    Returns:
        [N, D, T] and the steps at which anything was observed, [N, T]. N is B times the
        channels that are encoded alone.
    """
    relative = scaler_of(config, past, observed).apply(filled(past, observed)).float()
    together = past.shape[1] if config.channel_mode == "joint" else 1
    own = relative.reshape(-1, together, past.shape[-1])
    seen = observed.reshape(-1, together, past.shape[-1]).any(dim=1)
    beside = covariates.repeat_interleave(past.shape[1] // together, dim=0)
    return torch.cat([own, beside], dim=1), seen
