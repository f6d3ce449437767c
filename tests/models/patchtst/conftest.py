"""Series that PatchTST can learn in seconds, and checkpoints as the library writes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PatchTSTConfig, PatchTSTForPrediction

from forecast.core.types import Series
from forecast.models.patchtst.model import PatchTSTModel


def waves(steps: int, *, start: int = 0, channels: int = 2) -> Series:
    """Sines of period 12 with some noise, each of another phase, level and size."""
    time = np.arange(start, start + steps)
    noise = np.random.default_rng(start).standard_normal((channels, steps))
    target = [
        10 * channel + (1 + channel) * np.sin(2 * np.pi * time / 12 + channel)
        for channel in range(channels)
    ]
    return Series(target=np.array(target) + 0.05 * noise)


SMALL: dict[str, Any] = {
    "context_length": 36,
    "horizon": 12,
    "patch_length": 6,
    "patch_stride": 6,
    "num_layers": 1,
    "dropout": 0.0,
    "batch_size": 32,
    "max_epochs": 5,
    "learning_rate": 5e-3,
    "device": "cpu",
}


def untrained(**options: Any) -> PatchTSTModel:
    return PatchTSTModel(PatchTSTModel.spec.config(**(SMALL | options)))


@pytest.fixture(scope="session")
def trained() -> PatchTSTModel:
    return untrained().fit([waves(300)], [waves(100, start=300)])


def library_checkpoint(path: Path, **options: Any) -> PatchTSTForPrediction:
    """Write a made-up checkpoint as the library does, for three channels."""
    shape = {
        "num_input_channels": 3,
        "context_length": 32,
        "prediction_length": 8,
        "patch_length": 8,
        "patch_stride": 4,
        "d_model": 16,
        "num_hidden_layers": 2,
        "ffn_dim": 32,
        "init_std": 0.1,
        "pooling_type": None,
    }
    torch.manual_seed(0)
    network = PatchTSTForPrediction(PatchTSTConfig(**(shape | options))).eval()
    network.save_pretrained(path)
    return network
