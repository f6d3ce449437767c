"""Reads a folder with a TinyTimeMixer; safetensors and JSON only, no code from outside."""

from pathlib import Path
from typing import Any

import torch

from forecast.core.errors import BadData
from forecast.models.base.saved import config_of, refuse_unreadable
from forecast.models.ttm.library import (
    TinyTimeMixerForDecomposedPrediction,
    TinyTimeMixerForPrediction,
)
from forecast.models.ttm.network import FREQUENCY_TOKENS

_CLASSES = {
    "TinyTimeMixerForPrediction": TinyTimeMixerForPrediction,
    "TinyTimeMixerForDecomposedPrediction": TinyTimeMixerForDecomposedPrediction,
}


def load_network(path: Path, device: torch.device) -> Any:
    """Load a checkpoint as its authors publish it, in float32, in eval mode.

    Raises:
        BadData: not a TinyTimeMixer that forecasts, an incomplete one, or one that only
            pickle can read; says what to do.
    """
    refuse_unreadable(path)
    network_class = _network_class(path)
    try:
        network, found = network_class.from_pretrained(
            path,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:
        raise BadData("the checkpoint's weights and its config.json do not fit") from error
    if missing := sorted(found["missing_keys"]):
        raise BadData(f"the checkpoint lacks {len(missing)} weights, such as {missing[0]}")
    _refuse_what_cannot_be_given(network.config)
    return network.to(device).eval()


def _refuse_what_cannot_be_given(config: Any) -> None:
    if config.categorical_vocab_size_list:
        raise BadData("the checkpoint was trained on static categories, which cannot be given here")
    largest = max(FREQUENCY_TOKENS.values())
    if config.resolution_prefix_tuning and config.frequency_token_vocab_size <= largest:
        raise BadData("the checkpoint numbers frequencies otherwise than the published ones do")


def _network_class(path: Path) -> Any:
    config = config_of(path)
    if config.get("model_type") != "tinytimemixer":
        raise BadData("this is no TinyTimeMixer: config.json names another model_type, or none")
    named = config.get("architectures") or ["TinyTimeMixerForPrediction"]
    if not isinstance(named, list) or named[0] not in _CLASSES:
        raise BadData(f"config.json names {named!r}; those that forecast are {', '.join(_CLASSES)}")
    return _CLASSES[named[0]]
