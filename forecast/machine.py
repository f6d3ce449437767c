"""What this machine has, and how the numeric libraries are told of it."""

import os
from collections.abc import MutableMapping
from pathlib import Path

_CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")
_GPU = Path("/dev/nvidiactl")


def cores() -> int:
    """Count the cores this process may use, also where a container is given a share."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        count = os.cpu_count() or 1
    try:
        quota, period = _CGROUP_LIMIT.read_text().split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, int(quota) // int(period)))


def has_gpu() -> bool:
    """Whether an NVIDIA driver is loaded; asking it more would need a library."""
    return _GPU.exists()


def set_library_variables(environment: MutableMapping[str, str], threads: int) -> None:
    """Set what numeric and model libraries read when they are imported, unless it is set.

    PASSIVE, because two processes whose threads spin while they wait slow each other down
    by eight times.

    Args:
        threads: per process; 0 for one a core.
    """
    count = str(threads or cores())
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment.setdefault(name, count)
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    environment.setdefault("TOKENIZERS_PARALLELISM", "false")
    environment.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    environment.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
