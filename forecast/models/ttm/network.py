"""One call of a TinyTimeMixer, with the axes of this project."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from forecast.models.base.torch.network_model import Block

FREQUENCY_TOKENS = {
    "min": 1,
    "2min": 2,
    "5min": 3,
    "10min": 4,
    "15min": 5,
    "30min": 6,
    "h": 7,
    "D": 8,
    "W": 9,
}
"""As the authors number them; any other, or none, is 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """What a call is told beside R contexts of V channels.

    Attributes:
        ahead: [R, F, H] of the covariates known ahead; None where there are none.
        first: number of the first of them among the V channels; the others follow it.
        frequency: [R] tokens; may be None for a checkpoint that reads none.
    """

    ahead: torch.Tensor | None = None
    first: int = 0
    frequency: torch.Tensor | None = None


def run(network: nn.Module, past: torch.Tensor, observed: torch.Tensor, beside: Beside) -> Block:
    """Forecast the network's block after each context, with quantiles where it has any.

    Args:
        network: a TinyTimeMixer, or what training has wrapped around it.
        past: [R, V, T] float32 without gaps, about standardised.
        observed: [R, V, T].
    """
    answer = network(
        past_values=past.transpose(1, 2),
        past_observed_mask=observed.transpose(1, 2),
        future_values=_future(past, beside),
        freq_token=beside.frequency,  # left unread by a checkpoint without frequencies
        return_loss=False,
        return_dict=True,
    )
    quantiles = answer.quantile_outputs  # [R, Q, H, C]
    return Block(
        mean=answer.prediction_outputs.transpose(1, 2),
        quantiles=quantiles.permute(0, 3, 1, 2) if quantiles is not None else None,
    )


def _future(past: torch.Tensor, beside: Beside) -> torch.Tensor | None:
    """Lay out what is known ahead as the network expects it: [R, H, V], the rest 0."""
    if beside.ahead is None:
        return None
    known, steps = beside.ahead.shape[1:]
    future = past.new_zeros(*past.shape[:2], steps)
    future[:, beside.first : beside.first + known] = beside.ahead
    return future.transpose(1, 2)


def quantile_levels(config: Any) -> tuple[float, ...]:
    """Name the levels that the network forecasts; empty where it makes point forecasts only."""
    return tuple(sorted(config.quantile_levels)) if config.multi_quantile_head else ()


def mixes_channels(config: Any) -> bool:
    """Whether the channels of a series are read together; then their number is fixed."""
    modes = (config.mode, config.decoder_mode)
    return "mix_channel" in modes or bool(config.enable_forecast_channel_mixing)
