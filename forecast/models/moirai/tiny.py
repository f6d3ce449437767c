"""Checkpoints with made-up weights in the authors' own layout."""

from pathlib import Path
from typing import Any

import torch

from forecast.models.moirai.library import (
    Moirai2Module,
    MoiraiModule,
    MoiraiMoEModule,
    distribution,
)

_SHAPE: dict[str, Any] = {
    "d_model": 64,  # a head has 64
    "num_layers": 1,
    "max_seq_len": 512,
    "attn_dropout_p": 0.0,
    "dropout_p": 0.0,
}


def write_tiny(path: Path, kind: str = "moirai2", seed: int = 0, **changes: Any) -> None:
    """Write a network of one layer: `moirai2`, `moirai1` or `moirai-moe`."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        module = _made(kind, _SHAPE | changes).eval()
        for name, buffer in module.named_buffers():
            if name.endswith("centroid"):  # of the experts: the library leaves it unset
                buffer.normal_()
        module.save_pretrained(path)


def _made(kind: str, shape: dict[str, Any]) -> Any:
    if kind == "moirai2":
        return Moirai2Module(**({"d_ff": 64, "patch_size": 16, "num_predict_token": 4} | shape))
    if kind == "moirai1":
        return MoiraiModule(**({"patch_sizes": (8, 16, 32, 64, 128)} | shape | _mixture()))
    return MoiraiMoEModule(**({"d_ff": 32, "patch_sizes": (16,)} | shape | _mixture()))


def _mixture() -> dict[str, Any]:
    """Make the distribution of the published checkpoints."""
    parts = [
        distribution.StudentTOutput(),
        distribution.NormalFixedScaleOutput(),
        distribution.NegativeBinomialOutput(),
        distribution.LogNormalOutput(),
    ]
    return {"distr_output": distribution.MixtureOutput(parts)}
