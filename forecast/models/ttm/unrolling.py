"""Forecasts beyond a network's block, each block from the means of those before it."""

from typing import Protocol

import numpy as np
import torch

from forecast.core.types import FloatArray
from forecast.models.base.torch.network_model import Block, filled
from forecast.models.ttm.contexts import Contexts
from forecast.models.ttm.network import Beside


class Run(Protocol):
    """Runs a network on contexts [R, V, T] without gaps, and where they were observed."""

    def __call__(self, past: torch.Tensor, observed: torch.Tensor, beside: Beside) -> Block: ...


def unroll(run: Run, contexts: Contexts, block: int, device: torch.device) -> Block:
    """Forecast block by block, as far as `contexts.ahead` reaches.

    The errors of a block are taken to add to those at the end of the block before as
    independent ones do: deviations from the median by the root of the sum of their squares.

    Args:
        block: steps that the network forecasts at once.

    Returns:
        In standardised units: mean [R, C, H], quantiles [R, C, Q, H] where there are any.
    """
    past = _tensor(contexts.past, device)
    ahead = _tensor(contexts.ahead, device)
    tokens = torch.from_numpy(contexts.tokens).to(device)
    targets = contexts.scaler.center.shape[1]
    blocks: list[Block] = []
    for start in range(0, ahead.shape[-1], block):
        observed = ~past.isnan()
        known = ahead[..., start : start + block]
        beside = Beside(known if known.shape[1] else None, targets, tokens)
        answer = run(filled(past.nan_to_num(), observed), observed, beside=beside)
        blocks.append(_widened(answer, blocks[-1]) if blocks else answer)
        following = _following(answer.mean, known, past)
        past = torch.cat([past, following], dim=-1)[..., -past.shape[-1] :]
    parts = [one.quantiles for one in blocks if one.quantiles is not None]
    return Block(
        mean=torch.cat([one.mean for one in blocks], dim=-1),
        quantiles=torch.cat(parts, dim=-1) if parts else None,
    )


def _tensor(values: FloatArray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(device)


def _following(mean: torch.Tensor, known: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
    """Give what is read of a block once it is past: [R, V, block], NaN where nothing is known."""
    rows, channels, _ = past.shape
    unknown = channels - mean.shape[1] - known.shape[1]
    gap = past.new_full((rows, unknown, mean.shape[-1]), torch.nan)
    return torch.cat([mean, known, gap], dim=1)


def _widened(answer: Block, before: Block) -> Block:
    if answer.quantiles is None or before.quantiles is None:
        return answer
    own, median = _deviations(answer.quantiles)
    carried, _ = _deviations(before.quantiles[..., -1:])
    wide = torch.sign(own + carried) * torch.hypot(own, carried)
    return Block(answer.mean, median + wide)


def _deviations(quantiles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    middle = quantiles.shape[2] // 2
    median = quantiles[:, :, middle : middle + 1]
    return quantiles - median, median
