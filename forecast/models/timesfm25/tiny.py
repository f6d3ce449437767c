"""A tiny checkpoint with made-up weights, in either layout that Google publishes."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors.torch import save_file

from forecast.core.types import FloatArray
from forecast.models.timesfm25.layout import Tensors, to_transformers

Layout = Literal["native", "transformers"]

DIMS, LAYERS, HEADS = 32, 2, 4
PATCH_INPUTS, POINT_OUTPUTS, QUANTILE_OUTPUTS = 64, 1280, 10_240  # as published


def write_tiny(path: Path, layout: Layout = "native", seed: int = 0) -> None:
    """Write a checkpoint of 3 MB into a folder that is there."""
    tensors = tiny_tensors(seed)
    config: dict[str, object] = {"torch_compile": False}
    if layout == "transformers":
        tensors, config = to_transformers(tensors), _transformers_config()
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    (path / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def tiny_tensors(seed: int = 0) -> Tensors:
    """Make native tensors; weights scaled so that every layer says something."""
    random = np.random.default_rng(seed)
    return {
        name: torch.from_numpy(_made_up(random, name, shape)) for name, shape in _shapes().items()
    }


def _made_up(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> FloatArray:
    values: FloatArray = random.standard_normal(shape, dtype=np.float32)
    if name.endswith((".scale", "per_dim_scale")):
        return 1 + values / 10
    values /= np.sqrt(shape[-1])
    return values


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for block, inputs, outputs in (
        ("tokenizer", PATCH_INPUTS, DIMS),
        ("output_projection_point", DIMS, POINT_OUTPUTS),
        ("output_projection_quantiles", DIMS, QUANTILE_OUTPUTS),
    ):
        shapes[f"{block}.hidden_layer.weight"] = (DIMS, inputs)
        shapes[f"{block}.output_layer.weight"] = (outputs, DIMS)
        shapes[f"{block}.residual_layer.weight"] = (outputs, inputs)
    shapes["tokenizer.hidden_layer.bias"] = (DIMS,)
    shapes["tokenizer.output_layer.bias"] = (DIMS,)
    shapes["tokenizer.residual_layer.bias"] = (DIMS,)
    for layer in range(LAYERS):
        shapes |= {f"stacked_xf.{layer}.{name}": shape for name, shape in _layer_shapes().items()}
    return shapes


def _layer_shapes() -> dict[str, tuple[int, ...]]:
    head_dim = DIMS // HEADS
    return {
        "pre_attn_ln.scale": (DIMS,),
        "post_attn_ln.scale": (DIMS,),
        "pre_ff_ln.scale": (DIMS,),
        "post_ff_ln.scale": (DIMS,),
        "attn.qkv_proj.weight": (3 * DIMS, DIMS),
        "attn.out.weight": (DIMS, DIMS),
        "attn.query_ln.scale": (head_dim,),
        "attn.key_ln.scale": (head_dim,),
        "attn.per_dim_scale.per_dim_scale": (head_dim,),
        "ff0.weight": (DIMS, DIMS),
        "ff1.weight": (DIMS, DIMS),
    }


def _transformers_config() -> dict[str, object]:
    return {
        "architectures": ["TimesFm2_5ModelForPrediction"],
        "model_type": "timesfm2_5",
        "hidden_size": DIMS,
        "intermediate_size": DIMS,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": DIMS // HEADS,
    }
