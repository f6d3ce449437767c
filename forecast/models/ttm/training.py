"""Runs the network on training windows, and measures how far off it is."""

from collections.abc import Sequence

import torch
from torch import nn

from forecast.models.base.features import Features
from forecast.models.base.torch.network_model import Block, Context, mean_where, pinball_loss
from forecast.models.base.torch.training import Batch
from forecast.models.ttm.contexts import covariate_order


def rows_of(
    context: Context, features: Features | None, *, together: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Lay windows out as the network reads them: values and mask, [R, V, T] each.

    Args:
        features: names of the covariates; None where there are none.
        together: whether the channels of a window are one row, rather than a row each.
    """
    if not together:
        return context.past.flatten(0, 1)[:, None], context.observed.flatten(0, 1)[:, None]
    names = list(features.covariates) if features else []
    order = [names.index(name) for name in covariate_order(features)]
    covariates = context.past_covariates[:, order]
    known = torch.ones_like(covariates, dtype=torch.bool)
    return (
        torch.cat([context.past, covariates], dim=1),
        torch.cat([context.observed, known], dim=1),
    )


def in_windows(answer: Block, windows: torch.Size) -> Block:
    """Put the forecasts of the channels of a window side by side again."""
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
    loss = pinball_loss(answer.quantiles, batch.future, levels)
    return mean_where(loss, batch.future_observed)


def freeze_backbone(network: nn.Module) -> None:
    """Leave only decoder and head to be trained."""
    for name, parameter in network.named_parameters():
        if "backbone" in name.split("."):
            parameter.requires_grad_(False)
