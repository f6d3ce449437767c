"""Which of the processes that train together this one is, and what they tell each other.

Alone, unless a group was set up: then every function here but `rank` and `world_size` must be
called by all of its processes, in the same order.
"""

from typing import Any, TypeVar

import torch
from torch import distributed

Value = TypeVar("Value")


def rank() -> int:
    """Number of this process in its group; 0 alone."""
    return distributed.get_rank() if _together() else 0


def world_size() -> int:
    """Processes in the group; 1 alone."""
    return distributed.get_world_size() if _together() else 1


def average(value: float, device: torch.device) -> float:
    """Average a number over the group; every process gets the same answer."""
    if not _together():
        return value
    total = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return float(total) / world_size()


def any_says(flag: bool, device: torch.device) -> bool:
    """Whether any process of the group says yes; every process gets the same answer."""
    return average(float(flag), device) > 0


def gathered(value: Value) -> list[Value]:
    """Give what each process of the group says, in the order of their ranks."""
    if not _together():
        return [value]
    said: list[Any] = [None] * world_size()
    distributed.all_gather_object(said, value)
    return said


def copy_from_first(tensors: list[torch.Tensor]) -> None:
    """Overwrite tensors by those of rank 0."""
    if _together():
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Collect a tensor that is shared out over the group; any other is given back."""
    if not _is_shared_out(tensor):
        return tensor
    shared_out: Any = tensor
    full: torch.Tensor = shared_out.full_tensor()
    return full


def shared_out_like(model: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Share a whole tensor out over the group as another of its shape is, if it is."""
    if not _is_shared_out(model) or values.shape != model.shape:
        return values
    from torch.distributed.tensor import distribute_tensor

    spread: Any = model
    return distribute_tensor(values.to(model.device), spread.device_mesh, spread.placements)


def _is_shared_out(tensor: torch.Tensor) -> bool:
    if not _together():
        return False
    from torch.distributed.tensor import DTensor  # slow to import, and only needed in a group

    return isinstance(tensor, DTensor)


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()
