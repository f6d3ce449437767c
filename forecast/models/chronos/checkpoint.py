"""Reads a folder with a Chronos checkpoint; safetensors and JSON only, no code from outside."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from forecast.core.errors import BadData
from forecast.models.base.saved import config_of, refuse_unreadable
from forecast.models.chronos.bolt import BoltNetwork
from forecast.models.chronos.chronos2 import Chronos2Network
from forecast.models.chronos.network import Network
from forecast.models.chronos.t5 import T5Network

_NETWORKS: dict[str, type[Network]] = {
    "ChronosPipeline": T5Network,  # what the authors assume where nothing is said
    "ChronosBoltPipeline": BoltNetwork,
    "Chronos2Pipeline": Chronos2Network,
}
_UNREADABLE = (AssertionError, KeyError, OSError, RuntimeError, SafetensorError, TypeError)


def load_network(path: Path, device: torch.device) -> Network:
    """Load a checkpoint as its authors publish it, in float32.

    Raises:
        BadData: not a checkpoint of Chronos, an incomplete one, or one that only pickle
            can read; says what to do.
    """
    refuse_unreadable(path)
    kind = _kind(path)
    try:
        module = _load_module(kind.module_class(), path)
        network = kind(module)
    except (*_UNREADABLE, ValueError) as error:
        raise BadData("the checkpoint's weights and its config.json do not fit") from error
    _refuse_missing_weights(module, path)
    module.to(device)
    return network


def _kind(path: Path) -> type[Network]:
    config = config_of(path)
    if not isinstance(config.get("chronos_config"), dict):
        raise BadData("this is no checkpoint of Chronos: config.json has no chronos_config")
    name = config.get("chronos_pipeline_class", "ChronosPipeline")
    if name not in _NETWORKS:
        raise BadData(f"{name!r} is no known kind of Chronos; known are {', '.join(_NETWORKS)}")
    if config["chronos_config"].get("model_type", "seq2seq") != "seq2seq":
        raise BadData("only Chronos-T5 with an encoder and a decoder (seq2seq) can be loaded")
    return _NETWORKS[name]


def _load_module(module_class: Any, path: Path) -> Any:
    return module_class.from_pretrained(
        path,
        dtype=torch.float32,
        use_safetensors=True,
        weights_only=True,
        local_files_only=True,
        attn_implementation="sdpa",  # a config could name a kernel to be downloaded
    ).eval()


def _refuse_missing_weights(module: torch.nn.Module, path: Path) -> None:
    """Refuse a checkpoint with holes: the library would fill them at random, in silence."""
    stored: set[str] = set()
    for file in path.glob("*.safetensors"):
        with safe_open(file, framework="pt") as tensors:
            stored.update(tensors.keys())
    names: dict[int, set[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), set()).add(name)
    missing = sorted(min(aliases) for aliases in names.values() if not aliases & stored)
    if missing:
        raise BadData(f"the checkpoint lacks {len(missing)} weights, such as {missing[0]}")
