"""What the machine lends this process, read from real trees of files, and what libraries hear."""

import os
from pathlib import Path

import psutil
import pytest

from forecast.core.machine import cores, memory_bytes, set_library_variables
from forecast.models.base import process_pool

HERE = len(os.sched_getaffinity(0))
V2_CONTAINER = {"proc/self/cgroup": "0::/\n"}
V2_SERVICE = {"proc/self/cgroup": "0::/system.slice/forecast.service\n"}
V1_CONTAINER = {"proc/self/cgroup": "4:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n"}
SERVICE = "sys/fs/cgroup/system.slice/forecast.service"


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({}, HERE),
        (V2_CONTAINER | {"sys/fs/cgroup/cpu.max": "max 100000\n"}, HERE),
        (V2_CONTAINER | {"sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
        (V2_CONTAINER | {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        (V2_CONTAINER | {"sys/fs/cgroup/cpu.max": "nonsense"}, HERE),
        (V2_SERVICE | {f"{SERVICE}/cpu.max": "100000 100000\n"}, 1),
        (V2_SERVICE | {"sys/fs/cgroup/system.slice/cpu.max": "150000 100000\n"}, 1),
        (
            V1_CONTAINER
            | {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            V1_CONTAINER
            | {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            HERE,
        ),
    ],
)
def test_a_quota_of_cores_counts_wherever_the_kernel_shows_it(tmp_path, files, most):
    assert cores(tree(tmp_path, files)) == most


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        (V2_CONTAINER | {"sys/fs/cgroup/memory.max": "max\n"}, None),
        (V2_CONTAINER | {"sys/fs/cgroup/memory.max": "1000000\n"}, 1_000_000),
        (V2_SERVICE | {f"{SERVICE}/memory.max": "2000000\n"}, 2_000_000),
        (V1_CONTAINER | {"sys/fs/cgroup/memory/memory.limit_in_bytes": "3000000\n"}, 3_000_000),
        (V1_CONTAINER | {"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n"}, None),
    ],
)
def test_a_limit_of_memory_counts_too(tmp_path, files, limit):
    assert memory_bytes(tree(tmp_path, files)) == (limit or psutil.virtual_memory().total)


def test_a_pool_of_processes_counts_the_same_cores():
    assert process_pool.cores is cores
    assert process_pool.ProcessPool("math").max_workers == cores()


def test_libraries_are_told_of_threads_and_never_overruled():
    environment = {"OMP_NUM_THREADS": "7"}
    set_library_variables(environment, 3)
    assert environment["OMP_NUM_THREADS"] == "7"
    assert environment["MKL_NUM_THREADS"] == "3"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["TOKENIZERS_PARALLELISM"] == "false"


def test_by_default_there_is_a_thread_for_each_core():
    environment = {}
    set_library_variables(environment, 0)
    assert environment["OMP_NUM_THREADS"] == str(cores())
