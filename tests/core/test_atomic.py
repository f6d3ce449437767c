import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from forecast.core.atomic import (
    acquire_lock,
    discard,
    locked,
    publish,
    try_acquire_lock,
    write_text,
)


def test_a_file_is_replaced_whole_with_its_mode_and_nothing_beside_it(tmp_path):
    path = tmp_path / "new/key"
    write_text(path, "first", mode=0o600)
    write_text(path, "second", mode=0o600)
    assert path.read_text() == "second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_text_and_no_draft(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_published_whole_and_never_over_another(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "below/file").write_text(name)
    publish(tmp_path / "one", tmp_path / "target")
    with pytest.raises(FileExistsError):
        publish(tmp_path / "two", tmp_path / "target")
    assert (tmp_path / "target/below/file").read_text() == "one"
    discard(tmp_path / "two")
    discard(tmp_path / "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target"]


def test_a_lock_lets_one_holder_in_at_a_time(tmp_path):
    counter = tmp_path / "counter"
    write_text(counter, "0")

    def count(_: int) -> None:
        with locked(tmp_path / "lock"):
            write_text(counter, str(int(counter.read_text()) + 1))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(count, range(40)))
    assert counter.read_text() == "40"


def test_a_holder_that_is_killed_frees_its_lock(tmp_path):
    hold = (
        "import sys; from pathlib import Path; from forecast.core.atomic import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        os.kill(holder.pid, signal.SIGKILL)
        with locked(tmp_path / "lock"):
            assert holder.wait() == -signal.SIGKILL


def test_a_lock_is_shared_by_those_who_ask_for_that_and_taken_alone_by_nobody_meanwhile(tmp_path):
    path = tmp_path / "lock"
    first, second = acquire_lock(path, shared=True), acquire_lock(path, shared=True)
    assert try_acquire_lock(path) is None
    os.close(first)
    assert try_acquire_lock(path) is None
    os.close(second)
    alone = try_acquire_lock(path)
    assert alone is not None
    os.close(alone)


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_anew(tmp_path):
    path = tmp_path / "lock"
    first = acquire_lock(path)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(acquire_lock, path)
        path.unlink()
        os.close(first)
        second = waiting.result(60)
    assert path.stat().st_ino == os.fstat(second).st_ino
    assert try_acquire_lock(path) is None
    os.close(second)
