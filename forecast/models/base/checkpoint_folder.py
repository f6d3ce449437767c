"""Folders with a checkpoint as its authors publish it: safetensors and JSON, nothing else."""

import json
from pathlib import Path
from typing import Any

from forecast.core.errors import BadData

_PICKLED = ("*.bin", "*.pt", "*.ckpt")


def refuse_unreadable(path: Path) -> None:
    """Refuse a folder whose weights cannot be read safely, or not by themselves.

    Raises:
        BadData: an adapter without its base, pickled weights only, or none; says what to do.
    """
    if (path / "adapter_config.json").exists():
        raise BadData("this is a LoRA adapter; merge it into its base model and load the result")
    if any(path.glob("*.safetensors")):
        return
    if any(file for pattern in _PICKLED for file in path.glob(pattern)):
        raise BadData(
            "the checkpoint holds pickled weights only, and loading those can run any code;"
            " convert it to model.safetensors, with save_pretrained, and load that"
        )
    raise BadData("the checkpoint holds no model.safetensors")


def config_of(path: Path) -> dict[str, Any]:
    """Read the authors' config.json.

    Raises:
        BadData: it is missing, or no JSON object.
    """
    try:
        config = json.loads((path / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise BadData("the checkpoint holds no config.json that can be read") from error
    if not isinstance(config, dict):
        raise BadData("the checkpoint's config.json is no JSON object")
    return config
