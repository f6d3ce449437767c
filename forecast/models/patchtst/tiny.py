"""A tiny checkpoint with made-up weights, in the layout of transformers."""

from pathlib import Path

import torch
import transformers
from transformers import PatchTSTForPrediction

from forecast.models.base.conformal import ConformalCalibration

CONTEXT_LENGTH, BLOCK = 48, 16


def write_tiny(path: Path, loss: str = "mse", seed: int = 0) -> None:
    """Write a network of two layers that reads 48 steps and forecasts 16 at once."""
    config = transformers.PatchTSTConfig(
        context_length=CONTEXT_LENGTH,
        prediction_length=BLOCK,
        patch_length=8,
        patch_stride=4,
        d_model=16,
        num_attention_heads=2,
        num_hidden_layers=2,
        ffn_dim=32,
        pooling_type=None,
        pre_norm=False,
        init_std=0.1,
        loss=loss,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        PatchTSTForPrediction(config).save_pretrained(path)
    if loss == "mse":
        ConformalCalibration.assumed(BLOCK).save(path)
