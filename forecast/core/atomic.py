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
        _sync(draft)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def publish(draft: Path, target: Path) -> None:
    """Give a finished folder its name, after all that is in it has reached the disk.

    Raises:
        FileExistsError: the name is taken; a published folder is never edited.
    """
    for folder, _, files in os.walk(draft):
        for file in files:
            _sync(Path(folder, file))
        _sync(Path(folder))
    if target.exists():
        raise FileExistsError(f"{target.name} is already there")
    draft.rename(target)
    _sync(target.parent)


def discard(draft: Path) -> None:
    """Remove a folder that was never published; one that is gone already is fine."""
    shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that threads and processes of one machine share; freed when a holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
