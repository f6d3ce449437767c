"""A tiny checkpoint with made-up weights, in the layout of transformers."""

from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import PatchTSTForPrediction

from forecast.models.base.calibration import COVERAGES, LearnedErrors
from forecast.models.base.torch_device import LOAD_LOCK

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
    with LOAD_LOCK, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        PatchTSTForPrediction(config).save_pretrained(path)
    if loss == "mse":
        tiny_errors(BLOCK).save(path)


def tiny_errors(block: int) -> LearnedErrors:
    """Make up errors that grow with the coverage and with the step."""
    growth = np.sqrt(np.arange(1, block + 1) / block)
    return LearnedErrors((np.array(COVERAGES)[:, None] * growth)[None])
