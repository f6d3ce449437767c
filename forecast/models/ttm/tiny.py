"""Checkpoints with made-up weights in the authors' own layout."""

from pathlib import Path
from typing import Any

import torch

from forecast.models.ttm.library import (
    TinyTimeMixerConfig,
    TinyTimeMixerForDecomposedPrediction,
    TinyTimeMixerForPrediction,
)

_SHAPE: dict[str, Any] = {
    "context_length": 32,
    "prediction_length": 16,
    "patch_length": 8,
    "patch_stride": 8,
    "d_model": 16,
    "num_layers": 2,
    "decoder_num_layers": 2,
    "decoder_d_model": 8,
    "num_input_channels": 1,
    "scaling": "std",
    "mode": "common_channel",
}
_R3: dict[str, Any] = {
    "multi_quantile_head": True,
    "register_tokens": 2,
    "fft_length": 2,
    "multi_scale": True,
}
_KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "r2": (TinyTimeMixerForPrediction, {}),
    "r3": (TinyTimeMixerForPrediction, _R3),
    "r3-dec": (
        TinyTimeMixerForDecomposedPrediction,
        _R3 | {"decompose": True, "residual_context_length": 16},
    ),
}


def write_tiny(path: Path, kind: str = "r2", seed: int = 0, **changes: Any) -> None:
    """Write a network of some thousand weights that reads 32 steps and forecasts 16.

    Args:
        kind: `r2`, `r3`, or `r3-dec`, which forecasts trend and rest apart.
        changes: fields of the config that are to differ.
    """
    network_class, fields = _KINDS[kind]
    config = TinyTimeMixerConfig(**(_SHAPE | fields | changes))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network_class(config).save_pretrained(path)
