"""The network in torch, for training; `forward.py` runs the same in NumPy."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from forecast.models.sprout.context import CONTEXT, PATCH, Floats
from forecast.models.sprout.experts import EXPERTS, TREND_EXPERTS
from forecast.models.sprout.features import CHANNELS, SCALARS
from forecast.models.sprout.forward import (
    BLOCKS,
    COVERAGES,
    EPSILON,
    FUTURE_PATCHES,
    HEADS,
    LEVELS,
    Weights,
)
from forecast.models.sprout.windows import Windows

HISTORY_PATCHES = CONTEXT // PATCH
_WIDEN = 4  # times the width, within a feed-forward layer
_FIRST_TRUST = 3.0  # power of an expert's past error, by which it weighs less
_FIRST_INCREMENT = -1.0  # before the softplus: about 0.3 spreads between deciles
_MIXED = ("query", "key", "value")  # one array, `mix`, in NumPy
_LEAST_UNIT = 0.03  # standard deviations added to the spread that a loss is divided by
_SOFT_LIMIT = 10.0  # of a window's loss, about which it grows only with the logarithm


class Block(nn.Module):
    """Attention and a feed-forward layer, each on the normed input and added to it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_attention = nn.Parameter(torch.ones(width))
        self.norm_feed = nn.Parameter(torch.ones(width))
        self.query, self.key, self.value = (_random(width, width) for _ in _MIXED)
        self.out = _zero(width, width)
        self.widen = _random(width, _WIDEN * width)
        self.narrow = _zero(_WIDEN * width, width)

    def forward(self, tokens: Tensor, visible: Tensor) -> Tensor:
        count, patches, width = tokens.shape
        normed = _normed(tokens, self.norm_attention)
        query, key, value = (
            layer(normed).view(count, patches, HEADS, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        tokens = tokens + self.out(mixed.transpose(1, 2).reshape(count, patches, width))
        normed = _normed(tokens, self.norm_feed)
        fed: Tensor = self.narrow(functional.relu(self.widen(normed)).square())
        return tokens + fed


class SproutNetwork(nn.Module):
    """A gate over the experts, a correction and the distances between nine deciles."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.patch = _random(PATCH * CHANNELS, width)
        self.scalar = _random(SCALARS, width)
        self.position = nn.Parameter(torch.randn(HISTORY_PATCHES + FUTURE_PATCHES, width) * 0.1)
        self.blocks = nn.ModuleList(Block(width) for _ in range(BLOCKS))
        self.norm = nn.Parameter(torch.ones(width))
        self.head = _zero(width, PATCH * (EXPERTS + len(LEVELS)))
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
        tokens = self.patch(steps) + self.scalar(scalars)[:, None] + place
        visible = visible_patches(empty, history)
        for block in self.blocks:
            tokens = block(tokens, visible)
        ends = _normed(tokens[:, history:], self.norm)
        said = (self.head(ends) + self.bias).view(len(steps), -1, EXPERTS + len(LEVELS))
        trusted = functional.pad(skills * self.trust, (0, len(LEVELS)))
        said = said.transpose(1, 2) + trusted[..., None]
        return quantiles(said, experts, spread[:, None], self.stretch[0])


def to_arrays(network: nn.Module) -> dict[str, Floats]:
    """Copy the weights into arrays as `forward.py` names them, matrices [inputs, outputs]."""
    arrays = {}
    for name, weight in network.state_dict().items():
        is_matrix = name.endswith(".weight")
        array = (weight.mT if is_matrix else weight).cpu().numpy()
        arrays[name.removesuffix(".weight")] = array.copy(order="C")
    for number in range(BLOCKS):
        parts = [arrays.pop(f"blocks.{number}.{name}") for name in _MIXED]
        arrays[f"blocks.{number}.mix"] = np.stack(parts)
    return arrays


def from_arrays(arrays: Weights) -> SproutNetwork:
    """Build the network of weights that `to_arrays` gave."""
    network = SproutNetwork(len(arrays["norm"]))
    parts: dict[str, Floats] = {}
    for name, array in arrays.items():
        block, _, last = name.rpartition(".")
        mixed = {f"{block}.{part}": own for part, own in zip(_MIXED, array, strict=False)}
        parts |= mixed if last == "mix" else {name: array}
    with torch.no_grad():
        for name, weight in network.state_dict().items():
            own = torch.from_numpy(parts[name.removesuffix(".weight")])
            weight.copy_(own.mT if name.endswith(".weight") else own)
    return network


def tensors_of(windows: Windows, device: str) -> list[Tensor]:
    """Bring the inputs, targets and weights of windows to a device, in single precision."""
    return [
        torch.from_numpy(
            np.ascontiguousarray(values, None if values.dtype == bool else np.float32)
        ).to(device)
        for values in (*windows.inputs, windows.targets, windows.weights)
    ]


def loss(network: nn.Module, part: Sequence[Tensor]) -> Tensor:
    """Give each window's pinball loss over the nine deciles, in units of its spread: [N].

    Args:
        part: as `tensors_of` gives it.
    """
    *inputs, targets, weights = part
    missed = targets[:, None] - network(*inputs)  # [N, Q, H]
    level = torch.tensor(LEVELS, device=missed.device)[None, :, None]
    pinball = torch.maximum(level * missed, (level - 1) * missed).mean(dim=1)
    scaled = (pinball * weights).sum(dim=1) / (inputs[-1] + _LEAST_UNIT)
    return _SOFT_LIMIT * torch.log1p(scaled / _SOFT_LIMIT)


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


def _random(inputs: int, outputs: int) -> nn.Linear:
    return _layer(torch.randn(inputs, outputs) * inputs**-0.5)


def _zero(inputs: int, outputs: int) -> nn.Linear:
    return _layer(torch.zeros(inputs, outputs))


def _layer(matrix: Tensor) -> nn.Linear:
    inputs, outputs = matrix.shape
    layer = nn.Linear(inputs, outputs, bias=False, device="meta")
    layer.weight = nn.Parameter(matrix.mT.contiguous())
    return layer
