"""Runs the network on training windows, and measures how far off it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from forecast.models.base.features import Features
from forecast.models.base.fixed_window import Block, filled, mean_where
from forecast.models.base.torch_training import Batch
from forecast.models.ttm.contexts import covariate_order
from forecast.models.ttm.network import Beside, run

_FLAT = 1e-6  # a standard deviation below it, of standardised values, counts as none


@dataclass(frozen=True, slots=True)
class Reading:
    """How the network reads training windows.

    Attributes:
        together: whether the channels of a window are one row, rather than a row each.
        features: names of the covariates; None where there are none.
        token: of the frequency.
    """

    together: bool
    features: Features | None = None
    token: int = 0

    def run(self, network: nn.Module, batch: Batch) -> Block:
        """Forecast windows, [B, C, H] and [B, C, Q, H], in the units they are in."""
        standard = Standard.of(batch.past, batch.past_observed)
        past = standard.apply(filled(batch.past, batch.past_observed))
        rows, observed = self._rows(past, batch)
        answer = run(network, rows, observed, self._beside(batch, len(rows)))
        return standard.restore(_in_windows(answer, batch.past.shape[:2]))

    def _rows(self, past: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.together:
            return past.flatten(0, 1)[:, None], batch.past_observed.flatten(0, 1)[:, None]
        names = list(self.features.covariates) if self.features else []
        order = [names.index(name) for name in covariate_order(self.features)]
        covariates = batch.past_covariates[:, order]
        known = torch.ones_like(covariates, dtype=torch.bool)
        return (
            torch.cat([past, covariates], dim=1),
            torch.cat([batch.past_observed, known], dim=1),
        )

    def _beside(self, batch: Batch, rows: int) -> Beside:
        ahead = batch.future_covariates if batch.future_covariates.shape[1] else None
        frequency = torch.full((rows,), self.token, device=batch.past.device)
        return Beside(ahead, batch.past.shape[1], frequency)


class Standard(NamedTuple):
    """Mean and standard deviation of contexts, [B, C, 1] each; the latter 1 where flat."""

    level: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def of(cls, past: torch.Tensor, observed: torch.Tensor) -> "Standard":
        """Measure what is observed of contexts [B, C, T]."""
        count = observed.sum(dim=-1, keepdim=True).clamp_min(1)
        level = torch.where(observed, past, 0.0).sum(dim=-1, keepdim=True) / count
        squares = torch.where(observed, past - level, 0.0).square()
        scale = (squares.sum(dim=-1, keepdim=True) / count).sqrt()
        return cls(level, torch.where(scale > _FLAT, scale, torch.ones_like(scale)))

    def apply(self, past: torch.Tensor) -> torch.Tensor:
        """Standardise contexts [B, C, T]."""
        return (past - self.level) / self.scale

    def restore(self, answer: Block) -> Block:
        """Bring forecasts back to the units of their contexts."""
        quantiles = answer.quantiles
        if quantiles is not None:
            quantiles = quantiles * self.scale[:, :, None] + self.level[:, :, None]
        return Block(answer.mean * self.scale + self.level, quantiles)


def _in_windows(answer: Block, windows: torch.Size) -> Block:
    quantiles = answer.quantiles
    if quantiles is not None:
        quantiles = quantiles.reshape(*windows, *quantiles.shape[2:])
    return Block(answer.mean.reshape(*windows, -1), quantiles)


def loss_of(answer: Block, batch: Batch, levels: Sequence[float], name: str) -> torch.Tensor:
    """Measure a forecast, where it was observed, by what the network was pretrained with.

    For a network with quantiles that is the pinball loss, averaged over its levels: of the
    forecast as a whole also where trend and rest are forecast apart. Else it is the squared
    error, or the absolute one for a checkpoint that says so.

    Args:
        answer: in the units of the windows.
        levels: Q quantile levels of the answer.
        name: `loss` of the checkpoint's config.json.
    """
    if answer.quantiles is None:
        error = answer.mean - batch.future
        return mean_where(error.abs() if name == "mae" else error.square(), batch.future_observed)
    level = torch.tensor(levels, device=batch.future.device)[:, None]  # [Q, 1]
    error = batch.future[:, :, None] - answer.quantiles
    pinball = torch.maximum(level * error, (level - 1) * error)
    return mean_where(pinball.mean(dim=2), batch.future_observed)


def freeze_backbone(network: nn.Module) -> None:
    """Leave only decoder and head to be trained."""
    for name, parameter in network.named_parameters():
        if "backbone" in name.split("."):
            parameter.requires_grad_(False)
