"""From a loss to better weights: AdamW, with a warm-up, a schedule and a limit."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from forecast.models.base.config import TrainingConfig
from forecast.models.base.ranks import shared_out_like, whole


class Optimization:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) on the weights that are trained."""

    def __init__(self, network: nn.Module, config: TrainingConfig) -> None:
        self._config = config
        self.weights = [weight for weight in network.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._schedule = self._plan(steps=1)

    def plan(self, steps: int) -> None:
        """Lay the schedule out over so many steps; before the first of them."""
        self._schedule = self._plan(steps)

    def _plan(self, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
        return torch.optim.lr_scheduler.LambdaLR(self.optimizer, rate(self._config, steps))

    @property
    def learning_rate(self) -> float:
        """That of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, loss: torch.Tensor) -> None:
        """Go one step down the gradient of a loss."""
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        if self._config.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.weights, self._config.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._schedule.step()

    def state(self) -> dict[str, Any]:
        """Give everything that the next step depends on; shared-out tensors whole."""
        document = self.optimizer.state_dict()
        moments = {
            number: {name: whole(value) for name, value in of_weight.items()}
            for number, of_weight in document["state"].items()
        }
        return {"optimizer": document | {"state": moments}, "schedule": self._schedule.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        document = state["optimizer"]
        moments = {
            number: {
                name: shared_out_like(self.weights[number], value)
                for name, value in of_weight.items()
            }
            for number, of_weight in document["state"].items()
        }
        self.optimizer.load_state_dict(document | {"state": moments})
        self._schedule.load_state_dict(state["schedule"])


def rate(config: TrainingConfig, steps: int) -> Callable[[int], float]:
    """Give the share of the learning rate that each step takes, counted from 0."""
    warmup = config.warmup_steps

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if config.learning_rate_schedule == "constant":
            return 1.0
        done = (step - warmup) / max(1, steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return share
