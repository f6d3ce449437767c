"""The `timesfm` package's own network, built for any size and loaded without a copy."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from timesfm import ForecastConfig, TimesFM_2p5_200M_torch
from timesfm.timesfm_2p5.timesfm_2p5_torch import TimesFM_2p5_200M_torch_module

from forecast.core.errors import BadData
from forecast.core.types import FloatArray
from forecast.models.timesfm25.layout import definition_of


class Network(TimesFM_2p5_200M_torch):  # type: ignore[misc]  # the package is not typed
    """The package's forecaster around a network that is there already."""

    def __init__(self, module: TimesFM_2p5_200M_torch_module) -> None:
        # The parent would build the published size, and put it on the first GPU there is.
        self.model = module
        self.torch_compile = False  # takes 28 s, then 14 s a shape, and is no faster after

    def run(self, batch: Sequence[FloatArray], horizon: int, config: ForecastConfig) -> FloatArray:
        """Forecast complete series [T] in one call: [N, (backcast +) H, 10], float32.

        `compile` only stores a closure on the object (8 µs, of a call of 100 ms and more), so
        a shallow copy a call keeps its flags out of every other, and nothing is cached.
        """
        compiled = copy.copy(self)
        compiled.compile(replace(config, per_core_batch_size=len(batch)))
        _, heads = compiled.forecast(horizon, list(batch))  # it pads the list it is given
        return np.asarray(heads)


def build(
    tensors: Mapping[str, torch.Tensor], device: torch.device
) -> TimesFM_2p5_200M_torch_module:
    """Build the network whose native tensors these are, without copying them on a CPU.

    Raises:
        BadData: tensors are missing, left over or of the wrong shape.
    """
    try:
        definition = definition_of(tensors)
        sized = type("Module", (TimesFM_2p5_200M_torch_module,), {"config": definition})
        with torch.device("meta"):
            module = sized()
        module.load_state_dict(tensors, strict=True, assign=True)
    except (KeyError, RuntimeError) as error:
        raise BadData("the checkpoint's tensors are not those of a TimesFM 2.5 network") from error
    module.requires_grad_(False).eval().to(device)
    module.device, module.device_count = device, 1
    return module
