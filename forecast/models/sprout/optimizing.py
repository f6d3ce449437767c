"""Muon for the matrices within the blocks, AdamW for the rest."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

_MOMENTUM = 0.95
_POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024, for Newton-Schulz
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum, whose matrices are made orthogonal before each step (Jordan et al. 2024).

    Parameters are matrices, or stacks of matrices; those of one shape are stepped together.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for parameters in by_shape.values():
                self._step_together(parameters, group["lr"])

    def _step_together(self, parameters: Sequence[nn.Parameter], rate: float) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        states = [self.state[parameter] for parameter in parameters]
        for state, gradient in zip(states, gradients, strict=True):
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(gradient)
        momenta = [state["momentum"] for state in states]
        torch._foreach_lerp_(momenta, gradients, 1 - _MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, _MOMENTUM)
        moves = orthogonal(torch.stack(ahead)).unbind()
        outputs, inputs = parameters[0].shape[-2:]
        size = max(1.0, outputs / inputs) ** 0.5
        torch._foreach_add_(list(parameters), list(moves), alpha=-rate * size)


def orthogonal(matrices: Tensor) -> Tensor:
    """Bring the singular values of a stack of matrices [..., R, C] to about 1."""
    first, second, third = _POLYNOMIAL
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    near = matrices.mT if is_tall else matrices
    near = near / (near.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        square = near @ near.mT
        near = first * near + (second * square + third * square @ square) @ near
    found: Tensor = near.mT if is_tall else near
    return found


class Optimizers:
    """Both optimisers of one network; their learning rates fall together."""

    def __init__(self, network: nn.Module, muon_rate: float, adam_rate: float) -> None:
        named = dict(network.named_parameters())
        inner = [weights for name, weights in named.items() if _is_inner(name, weights)]
        rest = [weights for name, weights in named.items() if not _is_inner(name, weights)]
        self._rates = (muon_rate, adam_rate)
        self._parts: tuple[torch.optim.Optimizer, ...] = (
            Muon(inner, muon_rate),
            torch.optim.AdamW(rest, adam_rate, betas=(0.9, 0.98), weight_decay=0.01),
        )
        self._weights = list(named.values())

    def step(self, share: float) -> bool:
        """Follow the gradient at `share` of the learning rates, unless it is not finite."""
        norm = nn.utils.clip_grad_norm_(self._weights, 1.0)
        is_finite = bool(torch.isfinite(norm))
        for part, rate in zip(self._parts, self._rates, strict=True):
            for group in part.param_groups:
                group["lr"] = rate * share
            if is_finite:
                part.step()
            part.zero_grad()
        return is_finite

    def state_dict(self) -> list[Any]:
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, states: list[Any]) -> None:
        for part, state in zip(self._parts, states, strict=True):
            part.load_state_dict(state)


def _is_inner(name: str, weights: Tensor) -> bool:
    return name.startswith("blocks.") and weights.ndim >= 2
