"""Reads and writes a folder with a MOMENT checkpoint; safetensors and JSON only."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from forecast.core.errors import BadData
from forecast.models.base.saved import config_of, refuse_unreadable
from forecast.models.moment.network import FORECASTING, RECONSTRUCTION, build

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
_UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    KeyError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)
_UNTRAINED = (
    "the forecasting head of MOMENT has to be trained, and these weights hold none; fine-tune"
    " the published checkpoint on your series and load the result, or take task_name"
    " reconstruction for short forecasts without training"
)


def load_network(path: Path, device: torch.device) -> Any:
    """Load a checkpoint as its authors publish it, or one that `save_network` wrote.

    Every weight must be there: the library itself would draw missing ones at random, in
    silence.

    Raises:
        BadData: not a MOMENT, an incomplete one, one whose forecasting head was never trained,
            or one that only pickle can read; says what to do.
    """
    refuse_unreadable(path)
    config = read_config(path)
    try:
        weights = load_file(path / WEIGHTS_FILE)
        if config["task_name"] == FORECASTING and not _has_forecasting_head(config, weights):
            raise BadData(_UNTRAINED)
        network = build(config)
        network.load_state_dict(weights)  # strict
    except _UNREADABLE as error:
        raise BadData("the checkpoint's weights and its config.json do not fit") from error
    return network.to(device).eval()


def save_network(network: Any, config: dict[str, Any], path: Path) -> None:
    """Write what `load_network` reads."""
    (path / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, path / WEIGHTS_FILE)


def read_config(path: Path) -> dict[str, Any]:
    """Read config.json.

    Raises:
        BadData: it is missing, or not that of a MOMENT which this version can run.
    """
    config = config_of(path)
    if not isinstance(config.get("t5_config"), dict):
        raise BadData("this is no MOMENT: config.json has no t5_config")
    config.setdefault("task_name", RECONSTRUCTION)
    if config["task_name"] not in (RECONSTRUCTION, FORECASTING):
        raise BadData(f"a MOMENT for the task {config['task_name']!r} does not forecast")
    if config.get("patch_len") != config.get("patch_stride_len"):
        raise BadData("a MOMENT whose patches overlap cannot be loaded")
    return config


def _has_forecasting_head(config: dict[str, Any], weights: dict[str, torch.Tensor]) -> bool:
    """Tell a forecasting head, from all patches to the horizon, from one of reconstruction."""
    head = weights.get("head.linear.weight")
    return head is not None and head.shape[0] == config.get("forecast_horizon")


def untrained(config: dict[str, Any]) -> BadData:
    """Make the refusal of a forecasting head that is asked for where there is none."""
    assert config["task_name"] == RECONSTRUCTION
    return BadData(_UNTRAINED)
