"""Workers answer in order, survive a death, and go when told."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forecast.core.errors import HostUnavailable
from forecast.models.base.process_pool import ProcessPool


@pytest.fixture
def pool() -> Iterator[ProcessPool]:
    pool = ProcessPool("math", max_workers=2)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[ProcessPool]:
    """A pool for the tests that leave its workers alive, so that they start once."""
    shared = ProcessPool("math", max_workers=2)
    yield shared
    shared.close()


def worker_ids(pool: ProcessPool) -> set[int]:
    return set(pool._executor._processes) if pool._executor else set()


def test_results_come_in_the_order_of_the_items(shared):
    assert shared.map(math.factorial, [5, 3, 4, 0]) == [120, 6, 24, 1]


def test_nothing_starts_before_it_is_needed_nor_for_nothing(pool):
    assert pool._executor is None
    assert pool.map(math.factorial, []) == []
    assert pool._executor is None


def test_there_are_never_more_workers_than_asked(shared):
    shared.map(math.factorial, list(range(50)))
    assert 1 <= len(worker_ids(shared)) <= 2


def test_an_error_of_one_item_reaches_the_caller_and_leaves_the_workers_alive(shared):
    with pytest.raises(ValueError, match="negative"):
        shared.map(math.factorial, [1, -1, 2])
    before = worker_ids(shared)
    assert shared.map(math.factorial, [3]) == [6]
    assert worker_ids(shared) >= before


def test_all_items_run_even_where_one_fails(shared, tmp_path: Path):
    with pytest.raises(FileExistsError):
        shared.map(os.mkdir, [str(tmp_path), str(tmp_path / "after")])
    assert (tmp_path / "after").is_dir()


def test_workers_run_their_libraries_on_one_thread(shared):
    assert shared.map(os.getenv, ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"]) == ["1", "1"]


def test_a_worker_killed_while_idle_is_replaced_unseen(pool):
    pool.map(math.factorial, [1, 2])
    for worker in worker_ids(pool):
        os.kill(worker, signal.SIGKILL)
    assert pool.map(math.factorial, [5, 3]) == [120, 6]


def test_an_item_that_kills_every_worker_is_an_error_and_the_pool_goes_on(pool):
    with pytest.raises(HostUnavailable, match="died twice"):
        pool.map(os._exit, [1])
    assert pool.map(math.factorial, [3]) == [6]


def test_closing_ends_the_workers_and_may_be_done_twice(pool):
    pool.map(math.factorial, [1, 2])
    processes = list(pool._executor._processes.values())
    pool.close()
    pool.close()
    assert not any(process.is_alive() for process in processes)


def test_workers_end_when_the_process_that_started_them_is_killed():
    code = (
        "import math; from forecast.models.base.process_pool import ProcessPool\n"
        "pool = ProcessPool('math', max_workers=2)\n"
        "print(pool.map(math.factorial, [3, 4]), flush=True); input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as parent:
        assert parent.stdout.readline() == b"[6, 24]\n"
        parent.kill()
        assert parent.stdout.read() == b""  # the last worker to end closes the pipe
