"""Reads a folder with a Moirai checkpoint; safetensors and JSON only, no code from outside."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from forecast.core.errors import BadData
from forecast.models.base.saved import config_of, refuse_unreadable
from forecast.models.moirai.library import (
    Moirai2Module,
    MoiraiModule,
    MoiraiMoEModule,
    decode_distr_output,
    distribution,
)
from forecast.models.moirai.network import Network
from forecast.models.moirai.quantiles import QuantileNetwork
from forecast.models.moirai.samples import ExpertsNetwork, MixtureNetwork

WEIGHTS_FILE = "model.safetensors"
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
_DISTRIBUTIONS = "|".join(distribution.DISTRIBUTION_OUTPUTS)
_DISTRIBUTION = re.compile(rf"uni2ts\.distribution(\.[a-z][a-z_]*)?\.({_DISTRIBUTIONS})")
_DEEPEST = 8


class _Kind(NamedTuple):
    module: Any
    network: type[Network]


def load_network(path: Path, device: torch.device) -> Network:
    """Load a checkpoint as its authors publish it, in float32, in eval mode.

    Raises:
        BadData: not a Moirai, an incomplete one, or one that only pickle can read; says what
            to do.
    """
    refuse_unreadable(path)
    config = config_of(path)
    kind = _kind(config)
    try:
        module = kind.module(**_arguments(config))
        module.load_state_dict(load_file(path / WEIGHTS_FILE))
        return kind.network(module.to(device).eval(), device)
    except _UNREADABLE as error:
        raise BadData("the checkpoint's weights and its config.json do not fit") from error


def _kind(config: dict[str, Any]) -> _Kind:
    """Tell the kinds apart by the arguments that their modules take."""
    if "quantile_levels" in config or "num_predict_token" in config:
        return _Kind(Moirai2Module, QuantileNetwork)
    if "distr_output" in config and "d_ff" in config:
        return _Kind(MoiraiMoEModule, ExpertsNetwork)
    if "distr_output" in config:
        return _Kind(MoiraiModule, MixtureNetwork)
    raise BadData("this is no Moirai: config.json has neither quantile_levels nor a distr_output")


def _arguments(config: dict[str, Any]) -> dict[str, Any]:
    if "distr_output" not in config:
        return config
    refuse_other_code(config["distr_output"])
    return config | {"distr_output": decode_distr_output(config["distr_output"])}


def refuse_other_code(described: Any, depth: int = 0) -> None:
    """Refuse a description of a distribution that names anything but distributions.

    The library checks only how the name begins, but from there every function that one of its
    modules has imported can be reached, and would be called.

    Raises:
        BadData: a `_target_` is none of the library's distributions.
    """
    if depth > _DEEPEST:
        raise BadData("the distribution that config.json describes is nested too deep")
    if isinstance(described, dict):
        target = described.get("_target_")
        if target is not None and not _DISTRIBUTION.fullmatch(str(target)):
            raise BadData("config.json names a distribution that is none of Moirai's")
        described = list(described.values())
    if isinstance(described, list):
        for part in described:
            refuse_other_code(part, depth + 1)
