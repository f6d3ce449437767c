"""The two published layouts of TimesFM 2.5 weights, which differ in names only.

`google/timesfm-2.5-200m-pytorch` has the names of the `timesfm` package, and
`google/timesfm-2.5-200m-transformers` those of `transformers`, where the fused projection of
query, key and value is three.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timesfm.configs import ResidualBlockConfig
from timesfm.timesfm_2p5.timesfm_2p5_base import TimesFM_2p5_200M_Definition

from forecast.core.errors import BadData

Tensors = dict[str, torch.Tensor]

_LAYER = re.compile(r"(?:model\.layers|stacked_xf)\.(\d+)\.(.+)")
_BLOCKS = {  # native block → the same in transformers
    "tokenizer": "model.input_ff_layer",
    "output_projection_point": "output_projection_point",
    "output_projection_quantiles": "output_projection_quantiles",
}
_IN_LAYER = {  # name within a native layer → the same in transformers
    "pre_attn_ln.scale": "input_layernorm.weight",
    "post_attn_ln.scale": "post_attention_layernorm.weight",
    "pre_ff_ln.scale": "pre_feedforward_layernorm.weight",
    "post_ff_ln.scale": "post_feedforward_layernorm.weight",
    "attn.out.weight": "self_attn.o_proj.weight",
    "attn.query_ln.scale": "self_attn.q_norm.weight",
    "attn.key_ln.scale": "self_attn.k_norm.weight",
    "attn.per_dim_scale.per_dim_scale": "self_attn.scaling",
    "ff0.weight": "mlp.fc1.weight",
    "ff1.weight": "mlp.fc2.weight",
}
_FROM_TRANSFORMERS = {theirs: ours for ours, theirs in _IN_LAYER.items()}
_FUSED = "attn.qkv_proj.weight"
_PARTS = [f"self_attn.{part}_proj.weight" for part in "qkv"]


def read_tensors(folder: Path) -> Tensors:
    """Read a checkpoint of either layout as native float32 tensors.

    Raises:
        BadData: the folder holds no safetensors of TimesFM 2.5.
    """
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise BadData("the checkpoint holds no model.safetensors, the only format that is read")
    tensors: Tensors = {}
    try:
        for file in files:
            tensors |= load_file(file)
    except SafetensorError as error:
        raise BadData("the checkpoint's model.safetensors is damaged; fetch it again") from error
    native = to_native(tensors) if "model.input_ff_layer.input_layer.weight" in tensors else tensors
    if "stacked_xf.0.attn.qkv_proj.weight" not in native:
        raise BadData(
            "the checkpoint is not TimesFM 2.5 in either published layout"
            " (google/timesfm-2.5-200m-pytorch or google/timesfm-2.5-200m-transformers)"
        )
    return {name: tensor.float() for name, tensor in native.items()}


def to_native(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Rename tensors of the transformers layout and fuse query, key and value."""
    native: Tensors = {}
    for name, tensor in tensors.items():
        layer = _LAYER.fullmatch(name)
        if layer is None:
            native[_native_block(name)] = tensor
        elif layer[2] == _PARTS[0]:
            parts = [tensors[f"model.layers.{layer[1]}.{part}"] for part in _PARTS]
            native[f"stacked_xf.{layer[1]}.{_FUSED}"] = torch.cat(parts)
        elif layer[2] not in _PARTS:
            native[f"stacked_xf.{layer[1]}.{_FROM_TRANSFORMERS.get(layer[2], layer[2])}"] = tensor
    return native


def to_transformers(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Rename native tensors to the transformers layout and split query, key and value."""
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        layer = _LAYER.fullmatch(name)
        if layer is None:
            block, rest = name.split(".", 1)
            rest = rest.replace("hidden_layer", "input_layer")
            renamed[f"{_BLOCKS[block]}.{rest}"] = tensor
        elif layer[2] == _FUSED:
            for part, third in zip(_PARTS, tensor.chunk(3), strict=True):
                renamed[f"model.layers.{layer[1]}.{part}"] = third.contiguous()
        else:
            renamed[f"model.layers.{layer[1]}.{_IN_LAYER[layer[2]]}"] = tensor
    return renamed


def _native_block(name: str) -> str:
    for ours, theirs in _BLOCKS.items():
        if name.startswith(f"{theirs}."):
            rest = name.removeprefix(f"{theirs}.").replace("input_layer", "hidden_layer")
            return f"{ours}.{rest}"
    return name


def definition_of(tensors: Mapping[str, torch.Tensor]) -> TimesFM_2p5_200M_Definition:
    """Derive the architecture from the shapes of native tensors.

    The package knows one size only, that of the published checkpoint.
    """
    published = TimesFM_2p5_200M_Definition()
    heads = 1 + len(published.quantiles)
    layers = 1 + max(int(found[1]) for name in tensors if (found := _LAYER.fullmatch(name)))
    wide, model_dims = tensors["stacked_xf.0.ff0.weight"].shape
    head_dim = len(tensors["stacked_xf.0.attn.per_dim_scale.per_dim_scale"])
    tokenizer = _block(tensors, "tokenizer")
    point = _block(tensors, "output_projection_point")
    quantiles = _block(tensors, "output_projection_quantiles")
    transformer = replace(
        published.stacked_transformers.transformer,
        model_dims=model_dims,
        hidden_dims=wide,
        num_heads=model_dims // head_dim,
    )
    return replace(
        published,
        input_patch_len=tokenizer.input_dims // 2,
        output_patch_len=point.output_dims // heads,
        output_quantile_len=quantiles.output_dims // heads,
        tokenizer=tokenizer,
        stacked_transformers=replace(
            published.stacked_transformers, num_layers=layers, transformer=transformer
        ),
        output_projection_point=point,
        output_projection_quantiles=quantiles,
    )


def _block(tensors: Mapping[str, torch.Tensor], name: str) -> ResidualBlockConfig:
    hidden, inputs = tensors[f"{name}.hidden_layer.weight"].shape
    return ResidualBlockConfig(
        input_dims=inputs,
        hidden_dims=hidden,
        output_dims=tensors[f"{name}.output_layer.weight"].shape[0],
        use_bias=f"{name}.hidden_layer.bias" in tensors,
        activation="swish",
    )
