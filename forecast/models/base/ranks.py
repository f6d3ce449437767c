"""Which of the processes that train together this one is; alone unless a group was set up."""

import torch
from torch import distributed


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
    total = torch.tensor(value, dtype=torch.float32, device=device)
    distributed.all_reduce(total)
    return float(total) / world_size()


def any_says(flag: bool, device: torch.device) -> bool:
    """Whether any process of the group says yes; every process gets the same answer."""
    return average(float(flag), device) > 0


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()
