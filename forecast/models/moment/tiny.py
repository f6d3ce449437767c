"""Checkpoints with made-up weights in the authors' own layout."""

from pathlib import Path
from typing import Any

import torch

from forecast.models.moment.checkpoint import save_network
from forecast.models.moment.network import FORECASTING, RECONSTRUCTION, build

T5: dict[str, Any] = {
    "d_ff": 32,
    "d_kv": 8,
    "d_model": 16,
    "num_layers": 1,
    "num_decoder_layers": 1,
    "num_heads": 2,
    "vocab_size": 32,
    "feed_forward_proj": "gated-gelu",
    "dropout_rate": 0.1,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "layer_norm_epsilon": 1e-6,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
    "model_type": "t5",
    "is_encoder_decoder": True,
    "tie_word_embeddings": False,
}


def config_of(task_name: str = RECONSTRUCTION, seq_len: int = 64) -> dict[str, Any]:
    """Make a config.json with the fields of the published ones."""
    config: dict[str, Any] = {
        "task_name": task_name,
        "model_name": "MOMENT",
        "transformer_type": "encoder_only",
        "d_model": None,
        "seq_len": seq_len,
        "patch_len": 8,
        "patch_stride_len": 8,
        "device": "cpu",
        "transformer_backbone": "google/flan-t5-small",
        "model_kwargs": {},
        "t5_config": T5,
    }
    return config | ({"forecast_horizon": 16} if task_name == FORECASTING else {})


def write_tiny(path: Path, task_name: str = RECONSTRUCTION, seed: int = 0) -> None:
    """Write a network of one layer that reads 64 steps."""
    config = config_of(task_name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        save_network(build(config), config, path)
