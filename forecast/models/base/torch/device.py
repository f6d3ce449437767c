"""Where torch runs: the device, its threads and random numbers, and the process group.

Without a process group this process is alone. In one, every function from `average` on must be
called by all processes of the group, in the same order.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import distributed

from forecast.core.errors import BackendUnavailable

Value = TypeVar("Value")


def resolve_device(name: str) -> torch.device:
    """Return the device that a configuration names.

    Args:
        name: `cpu`, `cuda`, `cuda:1`, `mps`, or `auto`, which takes the first of CUDA, MPS
            and CPU that is there.

    Raises:
        BackendUnavailable: this machine has no such device; there is no silent fall back to
            the CPU.
    """
    if name == "auto":
        return torch.device(_best())
    kind, _, index = name.partition(":")
    count = _count(kind)
    if int(index or 0) >= count:
        raise BackendUnavailable(_absence(name, kind, count))
    return torch.device(name)


def _best() -> str:
    return next((kind for kind in ("cuda", "mps") if _count(kind)), "cpu")


def _count(kind: str) -> int:
    """Count the devices of a kind that this machine has."""
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    return int(kind == "cpu")


def _absence(name: str, kind: str, count: int) -> str:
    has = f"has {count} {kind} device{'s' * (count != 1)}" if count else f"has no {kind} device"
    return f"device {name!r} is not available: this machine {has}; ask for auto or {_best()}"


def use_threads(count: int) -> None:
    """Run every torch operation of this process on `count` threads.

    Processes that share a machine must not have more threads than it has cores, all together.
    """
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the CPU and a device inside the block; restore their generators afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def random_states(device: torch.device) -> list[torch.Tensor]:
    """Return the states of the random generators of the CPU and of a CUDA device."""
    on_device = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *on_device]


def set_random_states(states: list[torch.Tensor], device: torch.device) -> None:
    """Restore what `random_states` returned."""
    torch.set_rng_state(states[0].cpu())
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1].cpu(), device)


def rank() -> int:
    """Number of this process in its group; 0 alone."""
    return distributed.get_rank() if _in_group() else 0


def world_size() -> int:
    """Processes in the group; 1 alone."""
    return distributed.get_world_size() if _in_group() else 1


def average(value: float, device: torch.device) -> float:
    """Average a number over the group; equal in every process."""
    if not _in_group():
        return value
    total = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return float(total) / world_size()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set in any process of the group; equal in every process."""
    return average(float(flag), device) > 0


def gathered(value: Value) -> list[Value]:
    """Return the value of each process of the group, in the order of their ranks."""
    if not _in_group():
        return [value]
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


def broadcast_from_rank_0(tensors: list[torch.Tensor]) -> None:
    """Overwrite tensors with those of rank 0."""
    if _in_group():
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


def full_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """Gather a tensor that is sharded over the group; return any other unchanged."""
    if not _is_sharded(tensor):
        return tensor
    sharded: Any = tensor
    full: torch.Tensor = sharded.full_tensor()
    return full


def shard_like(model: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Shard a full tensor over the group as `model` is sharded; return it unchanged elsewhere."""
    if not _is_sharded(model) or values.shape != model.shape:
        return values
    from torch.distributed.tensor import distribute_tensor

    spread: Any = model
    return distribute_tensor(values.to(model.device), spread.device_mesh, spread.placements)


def _is_sharded(tensor: torch.Tensor) -> bool:
    if not _in_group():
        return False
    from torch.distributed.tensor import DTensor  # slow to import, and only needed in a group

    return isinstance(tensor, DTensor)


def _in_group() -> bool:
    return distributed.is_available() and distributed.is_initialized()
