"""Checkpoints with made-up weights in the authors' own layout: tiny ones, and a real-size one."""

from pathlib import Path
from typing import Any, Literal

import torch
from chronos.chronos2.config import Chronos2CoreConfig
from chronos.chronos2.model import Chronos2Model
from chronos.chronos_bolt import ChronosBoltModelForForecasting
from transformers import T5Config, T5ForConditionalGeneration
from transformers.utils import logging as transformers_logging

BOLT_SIZES: dict[str, dict[str, int]] = {  # of the published checkpoints
    "tiny": {"d_model": 256, "d_ff": 1024, "num_layers": 4, "num_heads": 4},
    "mini": {"d_model": 384, "d_ff": 1536, "num_layers": 4, "num_heads": 8},
    "small": {"d_model": 512, "d_ff": 2048, "num_layers": 6, "num_heads": 8},
    "base": {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
}
_TINY = {"d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_heads": 4}
_DECILES = [level / 10 for level in range(1, 10)]


def write_tiny_bolt(path: Path, seed: int = 0) -> None:
    """Write a Chronos-Bolt of two layers that uses up to 512 steps."""
    _write_bolt(path, {**_TINY, "initializer_factor": 0.2}, context_length=512, seed=seed)


def write_bolt(
    path: Path, size: Literal["tiny", "mini", "small", "base"] = "small", seed: int = 0
) -> None:
    """Write a Chronos-Bolt as large as a published one; its speed does not depend on weights."""
    shape = {"d_kv": 64, "initializer_factor": 0.05, **BOLT_SIZES[size]}
    _write_bolt(path, shape, context_length=2048, seed=seed)


def _write_bolt(path: Path, shape: dict[str, Any], *, context_length: int, seed: int) -> None:
    config = _t5_config(
        **shape,
        num_decoder_layers=shape["num_layers"],
        vocab_size=2,
        reg_token_id=1,
        architectures=["ChronosBoltModelForForecasting"],
        chronos_pipeline_class="ChronosBoltPipeline",
        chronos_config={
            "context_length": context_length,
            "prediction_length": 64,
            "input_patch_size": 16,
            "input_patch_stride": 16,
            "quantiles": _DECILES,
            "use_reg_token": True,
        },
    )
    _write(ChronosBoltModelForForecasting, config, path, seed)


def write_tiny_t5(path: Path, seed: int = 0) -> None:
    """Write a Chronos-T5 of two layers and 128 tokens that uses up to 64 steps."""
    config = _t5_config(
        **_TINY,
        num_decoder_layers=2,
        vocab_size=128,
        architectures=["T5ForConditionalGeneration"],
        chronos_config={
            "tokenizer_class": "MeanScaleUniformBins",
            "tokenizer_kwargs": {"low_limit": -15.0, "high_limit": 15.0},
            "n_tokens": 128,
            "n_special_tokens": 2,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "use_eos_token": True,
            "model_type": "seq2seq",
            "context_length": 64,
            "prediction_length": 16,
            "num_samples": 20,
            "temperature": 1.0,
            "top_k": 50,
            "top_p": 1.0,
        },
    )
    _write(T5ForConditionalGeneration, config, path, seed)


def write_tiny_chronos2(path: Path, seed: int = 0) -> None:
    """Write a Chronos-2 of two layers that uses up to 512 steps and forecasts up to 128."""
    config = Chronos2CoreConfig(
        **_TINY,
        initializer_factor=0.2,
        reg_token_id=1,
        architectures=["Chronos2Model"],
        chronos_pipeline_class="Chronos2Pipeline",
        chronos_config={
            "context_length": 512,
            "output_patch_size": 16,
            "input_patch_size": 16,
            "input_patch_stride": 16,
            "quantiles": [0.01, *(level / 20 for level in range(1, 20)), 0.99],
            "use_reg_token": True,
            "use_arcsinh": True,
            "max_output_patches": 8,
            "time_encoding_scale": 512,
        },
    )
    _write(Chronos2Model, config, path, seed)


def _t5_config(**fields: Any) -> T5Config:
    """Make a config with the fields that every published checkpoint on T5 shares."""
    shared = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    return T5Config(**(shared | {"feed_forward_proj": "relu"} | fields))


def _write(module_class: Any, config: Any, path: Path, seed: int) -> None:
    """Draw the weights, whatever the process has drawn before, and write the folder."""
    transformers_logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        module_class(config).save_pretrained(path)


WRITERS = {"bolt": write_tiny_bolt, "t5": write_tiny_t5, "chronos2": write_tiny_chronos2}
"""How a tiny checkpoint of each of the spec's variants is written."""
