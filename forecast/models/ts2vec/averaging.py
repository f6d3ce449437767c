"""The average of the weights over all steps of a training."""

from typing import Any

import torch
from torch import nn

from forecast.models.base.config import TrainingConfig
from forecast.models.base.torch.training import Optimization


class Averaging(Optimization):
    """AdamW, and beside it the mean of the weights over the steps that it took.

    Stochastic weight averaging (Izmailov et al. 2018, arXiv:1803.05407), from the first step
    on as the authors of TS2Vec do. The mean is part of every checkpoint.
    """

    def __init__(self, network: nn.Module, config: TrainingConfig) -> None:
        super().__init__(network, config)
        self._means: list[torch.Tensor] = []
        self._steps = 0

    def step(self, loss: torch.Tensor) -> None:
        super().step(loss)
        self._steps += 1
        with torch.no_grad():
            if not self._means:
                self._means = [weight.detach().clone() for weight in self.weights]
            for mean, weight in zip(self._means, self.weights, strict=True):
                mean.lerp_(weight, 1 / self._steps)

    @torch.no_grad()
    def finish(self) -> None:
        """Give the network the mean of its weights; the last ones are gone."""
        for mean, weight in zip(self._means, self.weights, strict=bool(self._means)):
            weight.copy_(mean)

    def state(self) -> dict[str, Any]:
        return super().state() | {"means": self._means, "steps": self._steps}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._means, self._steps = state["means"], state["steps"]
