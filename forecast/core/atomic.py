"""Atomic writes and file locks that survive a killed process."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp


def write_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a file atomically: readers see either the old text or the new.

    Args:
        mode: permissions of the new file, set before anything is written to it.
    """
    with replacing(path, mode=mode) as draft:
        draft.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path, *, mode: int = 0o644) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = mkstemp(prefix=f".{path.name}-", dir=path.parent)
    draft = Path(name)
    try:
        os.fchmod(handle, mode)
        os.close(handle)
        yield draft
        sync(draft)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync(path.parent)


def publish(draft: Path, target: Path) -> None:
    """Rename a finished folder to its final name, after flushing its contents to disk.

    Raises:
        FileExistsError: the name is taken; a published folder is never modified.
    """
    sync_all(draft)
    if target.exists():
        raise FileExistsError(f"{target.name} already exists")
    move(draft, target)


def sync_all(folder: Path) -> None:
    """Flush every file and folder below `folder` to disk."""
    for parent, _, files in os.walk(folder):
        for file in files:
            sync(Path(parent, file))
        sync(Path(parent))


def move(old: Path, new: Path) -> None:
    """Rename within one file system, and flush both parent folders to disk."""
    old.rename(new)
    sync(new.parent)
    if old.parent != new.parent:
        sync(old.parent)


def discard(draft: Path) -> None:
    """Delete an unpublished folder, if it exists."""
    shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive file lock, which the kernel releases if the process dies."""
    handle = acquire_lock(path)
    try:
        yield
    finally:
        os.close(handle)


def acquire_lock(path: Path, *, shared: bool = False) -> int:
    """Wait for a file lock and return its handle; closing the handle releases the lock.

    Args:
        shared: allow other shared holders, but no exclusive one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = _open_lock_file(path)
        fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        if _still_linked(path, handle):
            return handle
        os.close(handle)


def try_acquire_lock(path: Path) -> int | None:
    """Return the handle of an exclusive lock, or None if the lock is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _open_lock_file(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    if _still_linked(path, handle):
        return handle
    os.close(handle)
    return None


def _open_lock_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _still_linked(path: Path, handle: int) -> bool:
    """Whether `path` still names the locked file: a holder may delete it on release."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
