"""What this process may use of its machine, and how the numeric libraries are told of it."""

import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path

import psutil

_ROOT = Path("/")
_GPU = Path("/dev/nvidiactl")


def cores(root: Path = _ROOT) -> int:
    """Count the cores this process may use: its affinity, within the quota of its control group.

    Args:
        root: of the file system whose `/proc` and `/sys/fs/cgroup` are read.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        count = os.cpu_count() or 1
    return max(1, min([count, *_cpu_quotas(root)]))


def memory_bytes(root: Path = _ROOT) -> int:
    """Measure the memory this process may use, within the limit of its control group.

    Args:
        root: as for `cores`.
    """
    limits = [
        int(found[0])
        for group in _control_groups(root, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (found := _numbers(group / name))
    ]
    return int(min([psutil.virtual_memory().total, *limits]))


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


def _cpu_quotas(root: Path) -> Iterator[int]:
    """Yield whole cores of each quota that applies."""
    for group in _control_groups(root, "cpu"):
        limit = _numbers(group / "cpu.max") or [
            *_numbers(group / "cpu.cfs_quota_us"),
            *_numbers(group / "cpu.cfs_period_us"),
        ]
        if len(limit) == 2 and limit[0] > 0 and limit[1] > 0:  # a quota of -1 is none
            yield limit[0] // limit[1]


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control group and of every group above it.

    Both versions of the kernel's interface: one hierarchy under `/sys/fs/cgroup`, or one for
    each controller below that. In a container the own group is often mounted as the top of the
    hierarchy, whatever path `/proc/self/cgroup` shows; folders that do not exist limit nothing.
    """
    top = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        mount = top / controller if controllers else top
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts) + 1):
            yield mount.joinpath(*parts[:depth])


def _numbers(file: Path) -> list[int]:
    """Read the numbers of a limit; none where it says `max`, or is not there."""
    try:
        return [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []
