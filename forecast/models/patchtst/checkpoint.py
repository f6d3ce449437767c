"""Reads a folder with a PatchTST checkpoint in the layout of transformers."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import PatchTSTForPrediction
from transformers.utils import logging as transformers_logging

from forecast.core.errors import BadData

transformers_logging.disable_progress_bar()  # a bar a load

_ARCHITECTURE = "PatchTSTForPrediction"
_DISTRIBUTIONS = ("student_t", "normal")
_UNREADABLE = (KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError)


def load_network(path: Path, device: torch.device) -> Any:
    """Load `config.json` and `model.safetensors`, in float32 and for any number of channels.

    Raises:
        BadData: not a PatchTST that forecasts, or an incomplete one; says why.
    """
    config = _read_config(path)
    _refuse_what_cannot_forecast(config)
    if not any(path.glob("*.safetensors")):
        raise BadData("the checkpoint holds no model.safetensors, the only format that is read")
    try:
        network, told = _load(path)
    except _UNREADABLE as error:
        raise BadData("the checkpoint's weights and its config.json do not fit") from error
    # the library would fill holes at random, in silence
    if missing := sorted(told["missing_keys"]):
        raise BadData(f"the checkpoint lacks {len(missing)} weights, such as {missing[0]}")
    return network.eval().to(device)


def _load(path: Path) -> Any:
    return PatchTSTForPrediction.from_pretrained(
        path,
        num_input_channels=1,
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
        attn_implementation="sdpa",  # a config could name a kernel to be downloaded
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        document = json.loads((path / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise BadData("the checkpoint holds no config.json that can be read") from error
    if not isinstance(document, dict) or document.get("model_type") != "patchtst":
        raise BadData("this is no checkpoint of PatchTST: config.json has another model_type")
    if _ARCHITECTURE not in (document.get("architectures") or [_ARCHITECTURE]):
        raise BadData("this PatchTST was not trained to forecast; load a PatchTSTForPrediction")
    defaults: dict[str, Any] = transformers.PatchTSTConfig().to_dict()
    return defaults | document


def _refuse_what_cannot_forecast(config: dict[str, Any]) -> None:
    if config["channel_attention"] or not (
        config["share_embedding"] and config["share_projection"]
    ):
        raise BadData("this PatchTST mixes channels; only those that treat each alike are read")
    if config["scaling"] != "std":
        raise BadData("this PatchTST does not standardise its context; only scaling std is read")
    if config["loss"] != "mse" and config["distribution_output"] not in _DISTRIBUTIONS:
        raise BadData(
            f"the distribution {config['distribution_output']!r} of this PatchTST is not known;"
            f" known are {', '.join(_DISTRIBUTIONS)}"
        )
