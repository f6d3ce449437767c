"""Where torch runs, with how many threads, and one lock around whatever builds a network."""

import threading

import torch

from forecast.core.errors import BackendUnavailable

LOAD_LOCK = threading.RLock()
"""Held around every build and load of a network, in the whole process.

`from_pretrained` builds on the meta device by patching torch for all threads: two loads at
once leave weights that hold no data.
"""


def resolve_device(name: str) -> torch.device:
    """Find the device a caller asked for.

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
    """Run every operation of this process on `count` threads, the best being its cores.

    One process with all cores, or one process a core with one thread each: never more
    threads than cores in all.
    """
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
