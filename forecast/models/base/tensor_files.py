"""Weights in safetensors, the only format that is read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from forecast.core.errors import BadData

Network = TypeVar("Network", bound=nn.Module)


def loaded(network: Network, file: Path, shaping: Sequence[str]) -> Network:
    """Read all weights of a network into it, and put it in eval mode.

    Args:
        shaping: the options that shape the network, named where the weights do not fit it.

    Raises:
        BadData: the file is missing, damaged or of another network.
    """
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise BadData(f"the weights hold no readable {file.name}") from error
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadData(
            f"the weights do not fit the options; {', '.join(shaping)} must be those they were"
            " trained with"
        ) from error
    return network.eval()
