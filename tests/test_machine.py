"""What the machine has, and what the libraries are told of it."""

import os

import pytest

from forecast import machine
from forecast.machine import cores, set_library_variables


@pytest.mark.parametrize(
    ("limit", "most"),
    [("max 100000\n", 4096), ("200000 100000\n", 2), ("50000 100000\n", 1), ("nonsense", 4096)],
)
def test_a_container_counts_only_its_share_of_the_cores(tmp_path, monkeypatch, limit, most):
    file = tmp_path / "cpu.max"
    file.write_text(limit)
    monkeypatch.setattr(machine, "_CGROUP_LIMIT", file)
    assert cores() == min(most, len(os.sched_getaffinity(0)))


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
