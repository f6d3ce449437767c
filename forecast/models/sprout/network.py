"""The network in torch, for pretraining; `forward.py` runs the same in NumPy."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from forecast.models.sprout.context import CONTEXT, PATCH
from forecast.models.sprout.experts import EXPERTS, TREND_EXPERTS
from forecast.models.sprout.features import CHANNELS, SCALARS
from forecast.models.sprout.forward import (
    BLOCKS,
    COVERAGES,
    EPSILON,
    FUTURE_PATCHES,
    HEADS,
    LEVELS,
)

HISTORY_PATCHES = CONTEXT // PATCH
_WIDEN = 4  # times the width, within a feed-forward layer
_FIRST_TRUST = 3.0  # power of an expert's past error, by which it weighs less
_FIRST_INCREMENT = -1.0  # before the softplus: about 0.3 spreads between deciles


class Block(nn.Module):
    """Attention and a feed-forward layer, each on the normed input and added to it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_attention = nn.Parameter(torch.ones(width))
        self.norm_feed = nn.Parameter(torch.ones(width))
        self.mix = nn.Parameter(torch.randn(3, width, width) * width**-0.5)
        self.out = nn.Parameter(torch.zeros(width, width))
        self.widen = nn.Parameter(torch.randn(width, _WIDEN * width) * width**-0.5)
        self.narrow = nn.Parameter(torch.zeros(_WIDEN * width, width))

    def forward(self, tokens: Tensor, visible: Tensor) -> Tensor:
        count, patches, width = tokens.shape
        normed = _normed(tokens, self.norm_attention)
        query, key, value = (
            (normed @ matrix).view(count, patches, HEADS, -1).transpose(1, 2) for matrix in self.mix
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        tokens = tokens + mixed.transpose(1, 2).reshape(count, patches, width) @ self.out
        normed = _normed(tokens, self.norm_feed)
        return tokens + functional.relu(normed @ self.widen).square() @ self.narrow


class SproutNetwork(nn.Module):
    """A gate over the experts, a correction and the distances between nine deciles."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inputs = PATCH * CHANNELS
        self.patch = nn.Parameter(torch.randn(inputs, width) * inputs**-0.5)
        self.scalar = nn.Parameter(torch.randn(SCALARS, width) * SCALARS**-0.5)
        self.position = nn.Parameter(torch.randn(HISTORY_PATCHES + FUTURE_PATCHES, width) * 0.1)
        self.blocks = nn.ModuleList(Block(width) for _ in range(BLOCKS))
        self.norm = nn.Parameter(torch.ones(width))
        self.head = nn.Parameter(torch.zeros(width, PATCH * (EXPERTS + len(LEVELS))))
        self.bias = nn.Parameter(_first_bias())
        self.trust = nn.Parameter(torch.full((EXPERTS,), _FIRST_TRUST))
        self.stretch: Tensor
        self.register_buffer("stretch", torch.ones(len(COVERAGES)))  # set when it is calibrated

    def forward(
        self,
        steps: Tensor,
        scalars: Tensor,
        empty: Tensor,
        experts: Tensor,
        skills: Tensor,
        spread: Tensor,
    ) -> Tensor:
        """Give quantiles [N, Q, H] of inputs as `features` makes them.

        Patches at the beginning, empty in all series, may be left out.
        """
        future = experts.shape[2] // PATCH
        history = steps.shape[1] - future
        place = self.position[HISTORY_PATCHES - history : HISTORY_PATCHES + future]
        tokens = steps @ self.patch + (scalars @ self.scalar)[:, None] + place
        visible = visible_patches(empty, history)
        for block in self.blocks:
            tokens = block(tokens, visible)
        ends = _normed(tokens[:, history:], self.norm)
        said = (ends @ self.head + self.bias).view(len(steps), -1, EXPERTS + len(LEVELS))
        trusted = functional.pad(skills * self.trust, (0, len(LEVELS)))
        said = said.transpose(1, 2) + trusted[..., None]
        return quantiles(said, experts, spread[:, None], self.stretch[0])


def visible_patches(empty: Tensor, history: int) -> Tensor:
    """Say what each patch may look at [N, 1, P, P]: the history, and the future before it."""
    patches = empty.shape[1]
    order = torch.arange(patches, device=empty.device)
    before = (order[None] < history) | (order[None] <= order[:, None])
    itself = torch.eye(patches, dtype=torch.bool, device=empty.device)
    return ((before & ~empty[:, None]) | itself)[:, None]


def quantiles(said: Tensor, experts: Tensor, spread: Tensor, stretch: Tensor) -> Tensor:
    """Turn the head's output [N, E + Q, H] into quantiles that cannot cross [N, Q, H]."""
    gate = said[:, :EXPERTS].softmax(dim=1)
    middle = (gate * experts).sum(dim=1) + said[:, EXPERTS] * spread
    apart = functional.softplus(said[:, EXPERTS + 1 :]) * (spread * stretch)[:, None]
    half = apart.shape[1] // 2
    below = middle[:, None] - apart[:, :half].cumsum(dim=1)
    above = middle[:, None] + apart[:, half:].cumsum(dim=1)
    return torch.cat([below.flip(1), middle[:, None], above], dim=1)


def _normed(tokens: Tensor, gain: Tensor) -> Tensor:
    return tokens * torch.rsqrt(tokens.square().mean(dim=-1, keepdim=True) + EPSILON) * gain


def _first_bias() -> Tensor:
    bias = torch.zeros(EXPERTS + len(LEVELS))
    bias[list(TREND_EXPERTS)] = -2.0
    bias[EXPERTS + 1 :] = _FIRST_INCREMENT
    return bias.repeat(PATCH)
