"""Files and folders that appear whole or not at all, also when the process is killed."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp


def write_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a file: readers see the old text or the new, never a part.

    Args:
        mode: permissions of the new file from its first byte on.
    """
    with replacing(path, mode=mode) as draft:
        draft.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path, *, mode: int = 0o644) -> Iterator[Path]:
    """Give a draft to write to, which takes the place of the file if the block succeeds."""
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
    """Give a finished folder its name, after all that is in it has reached the disk.

    Raises:
        FileExistsError: the name is taken; a published folder is never edited.
    """
    sync_all(draft)
    if target.exists():
        raise FileExistsError(f"{target.name} is already there")
    move(draft, target)


def sync_all(folder: Path) -> None:
    """Wait until all that is in a folder has reached the disk."""
    for parent, _, files in os.walk(folder):
        for file in files:
            sync(Path(parent, file))
        sync(Path(parent))


def move(old: Path, new: Path) -> None:
    """Rename within a file system, and wait until the disk knows."""
    old.rename(new)
    sync(new.parent)
    if old.parent != new.parent:
        sync(old.parent)


def discard(draft: Path) -> None:
    """Remove a folder that was never published; one that is gone already is fine."""
    shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that threads and processes of one machine share; freed when a holder dies."""
    handle = taken(path)
    try:
        yield
    finally:
        os.close(handle)


def taken(path: Path, *, shared: bool = False) -> int:
    """Wait for a lock and hold it until the handle that is given back is closed.

    Args:
        shared: with others who share it; nobody holds it alone meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = _opened(path)
        fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        if _is_still(path, handle):
            return handle
        os.close(handle)


def taken_at_once(path: Path) -> int | None:
    """Take a lock alone, as `taken`; None where somebody holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _opened(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    if _is_still(path, handle):
        return handle
    os.close(handle)
    return None


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _is_still(path: Path, handle: int) -> bool:
    """Whether nobody removed the file of a lock while we waited for it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def sync(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, has reached the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
