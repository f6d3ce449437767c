"""The network in NumPy, for serving without torch.

Every series has matrices of its own, of the same shape in any batch, so that a series gets
the same answer to the bit alone and in company.
"""

from collections.abc import Mapping

import numpy as np

from forecast.models.sprout.context import CONTEXT, PATCH, Floats, Mask
from forecast.models.sprout.experts import EXPERTS
from forecast.models.sprout.features import Inputs

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
COVERAGES = (0.8, 0.9, 0.95, 0.98, 0.99)
"""Of the interval between the outer deciles, and of wider ones that it can be stretched to."""
BLOCKS = 4
HEADS = 4
FUTURE_PATCHES = 8
EPSILON = 1e-6

Weights = Mapping[str, Floats]

_OF_BLOCKS = ("norm_attention", "norm_feed", "mix", "out", "widen", "narrow")
NAMES = {
    *("patch", "scalar", "position", "norm", "head", "bias", "trust", "stretch"),
    *(f"blocks.{number}.{name}" for number in range(BLOCKS) for name in _OF_BLOCKS),
}


def forward(weights: Weights, inputs: Inputs) -> Floats:
    """Give quantiles [N, Q, H] of a batch, in the units of the inputs."""
    future = inputs.experts.shape[2] // PATCH
    history = inputs.steps.shape[1] - future
    begin = CONTEXT // PATCH - history
    tokens: Floats = (
        inputs.steps @ weights["patch"] + weights["position"][begin:][: history + future]
    )
    tokens += inputs.scalars[:, None] @ weights["scalar"]
    unseen = np.where(_visible(inputs.empty, history), 0, -1e9).astype(np.float32)[:, None]
    for number in range(BLOCKS):
        begin = history if number == BLOCKS - 1 else 0  # nothing asks what the history became
        tokens = _block(weights, f"blocks.{number}.", tokens, unseen, begin)
    said: Floats = _normed(tokens, weights["norm"]) @ weights["head"] + weights["bias"]
    said = said.reshape(len(tokens), -1, EXPERTS + len(LEVELS)).transpose(0, 2, 1)
    said[:, :EXPERTS] += (inputs.skills * weights["trust"])[:, :, None]
    return _quantiles(said, inputs.experts, inputs.spread[:, None], weights["stretch"][0])


def _block(weights: Weights, name: str, tokens: Floats, unseen: Floats, begin: int) -> Floats:
    """Run one block on tokens [N, P, D], and give those from `begin` on."""
    count, _, width = tokens.shape
    normed = _normed(tokens, weights[f"{name}norm_attention"])
    asking = tokens[:, begin:]
    query, key, value = (
        (each @ matrix).reshape(count, -1, HEADS, width // HEADS).transpose(0, 2, 1, 3)
        for each, matrix in zip(
            (normed[:, begin:], normed, normed), weights[f"{name}mix"], strict=True
        )
    )
    scores = query @ key.transpose(0, 1, 3, 2)
    scores *= np.float32((width // HEADS) ** -0.5)
    scores += unseen[:, :, begin:]
    mixed = (_softmax(scores, axis=-1) @ value).transpose(0, 2, 1, 3).reshape(asking.shape)
    tokens = asking + mixed @ weights[f"{name}out"]
    wide = _normed(tokens, weights[f"{name}norm_feed"]) @ weights[f"{name}widen"]
    np.maximum(wide, 0, out=wide)
    wide *= wide
    tokens += wide @ weights[f"{name}narrow"]
    return tokens


def _visible(empty: Mask, history: int) -> Mask:
    """Say what each patch may look at [N, P, P]: the history, and the future before it."""
    order = np.arange(empty.shape[1])
    before = (order[None] < history) | (order[None] <= order[:, None])
    seen: Mask = (before & ~empty[:, None]) | np.eye(len(order), dtype=bool)
    return seen


def _quantiles(said: Floats, experts: Floats, spread: Floats, stretch: float) -> Floats:
    gate = _softmax(said[:, :EXPERTS], axis=1)
    middle = (gate * experts).sum(axis=1) + said[:, EXPERTS] * spread
    apart = np.logaddexp(said[:, EXPERTS + 1 :], np.float32(0)) * (spread * stretch)[:, None]
    half = apart.shape[1] // 2
    below = middle[:, None] - np.cumsum(apart[:, :half], axis=1)
    above = middle[:, None] + np.cumsum(apart[:, half:], axis=1)
    ordered: Floats = np.concatenate([below[:, ::-1], middle[:, None], above], axis=1)
    return ordered


def _softmax(scores: Floats, axis: int) -> Floats:
    shifted: Floats = np.exp(scores - scores.max(axis=axis, keepdims=True))
    shifted /= shifted.sum(axis=axis, keepdims=True)
    return shifted


def _normed(tokens: Floats, gain: Floats) -> Floats:
    power = np.einsum("npd,npd->np", tokens, tokens)[..., None] / np.float32(tokens.shape[-1])
    normed: Floats = tokens / np.sqrt(power + np.float32(EPSILON)) * gain
    return normed
