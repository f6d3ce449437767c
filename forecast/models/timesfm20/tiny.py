"""A tiny checkpoint with made-up weights, in the layout that Google publishes."""

from pathlib import Path

import torch
from transformers import TimesFmConfig, TimesFmModelForPrediction


def write_tiny(path: Path, seed: int = 0) -> None:
    """Write a checkpoint of 0.5 MB into a folder that is there."""
    config = TimesFmConfig(
        num_hidden_layers=2,
        hidden_size=32,
        intermediate_size=32,
        head_dim=8,
        num_attention_heads=4,
        context_length=512,
        initializer_range=0.2,  # else every forecast is nearly the mean of the first patch
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        TimesFmModelForPrediction(config).save_pretrained(path)
