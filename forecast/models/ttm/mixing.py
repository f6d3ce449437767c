"""Makes a network that reads covariates, and mixes channels, out of one that reads neither."""

import copy
from typing import Any

import torch
from torch import nn

from forecast.core.errors import InvalidRequest
from forecast.models.base.features import Features

NEW_MODULES = ("fcm_block", "channel_feature_mixer")
"""Those that no published checkpoint has: only training gives them a meaning."""


def with_mixing(network: Any, features: Features) -> Any:
    """Give a network the channels and covariates of `features`, in that order.

    Covariates known ahead come in where forecasts are mixed; all others, and the channels
    themselves, where the decoder mixes its channels. Both are residual and end in a linear
    layer that starts at 0, so the new network forecasts what the old one does until training
    says otherwise.

    Raises:
        InvalidRequest: the kind of network cannot read covariates.
    """
    config = copy.deepcopy(network.config)
    if features.covariates and config.multi_quantile_head and config.mq_use_decoder_pool:
        raise InvalidRequest(
            "the quantile head of this checkpoint reads every channel, so covariates cannot be"
            " added to it; leave them out, or fine-tune a checkpoint of release 2"
        )
    targets, known = features.num_channels, len(features.known_ahead)
    config.num_input_channels = targets + len(features.covariates)
    config.prediction_channel_indices = list(range(targets))
    config.exogenous_channel_indices = list(range(targets, targets + known)) or None
    config.decoder_mode = "mix_channel"
    config.enable_forecast_channel_mixing = True
    config.fcm_use_mixer = True
    mixing = type(network)(config)
    lacking = mixing.load_state_dict(network.state_dict(), strict=False)
    assert not lacking.unexpected_keys
    assert all(any(part in name for part in NEW_MODULES) for name in lacking.missing_keys)
    _start_at_zero(mixing)
    return mixing


@torch.no_grad()
def _start_at_zero(network: nn.Module) -> None:
    for name, module in network.named_modules():
        if name.endswith("fcm_block"):
            _zero(module.get_submodule("mlp"))
        elif name.endswith("channel_feature_mixer"):
            _zero(module.get_submodule("mlp.fc2"))


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        parameter.zero_()
