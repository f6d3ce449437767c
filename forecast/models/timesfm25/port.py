"""The port of TimesFM 2.5 to `transformers`: what is trained, in place of the native network."""

from collections.abc import Mapping

import torch
from transformers import TimesFm2_5Config, TimesFm2_5ModelForPrediction

from forecast.models.timesfm25.layout import definition_of, to_transformers


def port_of(tensors: Mapping[str, torch.Tensor]) -> TimesFm2_5ModelForPrediction:
    """Build the port with a copy of native tensors; it computes the same."""
    definition = definition_of(tensors)
    transformer = definition.stacked_transformers.transformer
    config = TimesFm2_5Config(
        hidden_size=transformer.model_dims,
        intermediate_size=transformer.hidden_dims,
        num_hidden_layers=definition.stacked_transformers.num_layers,
        num_attention_heads=transformer.num_heads,
        num_key_value_heads=transformer.num_heads,
        head_dim=transformer.model_dims // transformer.num_heads,
        patch_length=definition.input_patch_len,
        horizon_length=definition.output_patch_len,
        output_quantile_len=definition.output_quantile_len,
    )
    network = TimesFm2_5ModelForPrediction(config)
    network.load_state_dict(to_transformers(tensors))
    return network
