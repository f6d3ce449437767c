"""Folders that are written before they are published, and what is left of killed writers."""

import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forecast.core.atomic import acquire_lock, discard, try_acquire_lock
from forecast.store.layout import Layout, explained

log = logging.getLogger(__name__)

_LOCK = ".lock"


@contextmanager
def new_draft(layout: Layout) -> Iterator[Path]:
    """Give an empty folder, which is removed in the end unless it was published.

    A lock file beside it tells that its process lives.
    """
    draft = layout.drafts / uuid.uuid4().hex
    lock = draft.with_suffix(_LOCK)
    with explained():
        handle = acquire_lock(lock)
    try:
        with explained():
            draft.mkdir()
        yield draft
    finally:
        discard(draft)
        lock.unlink(missing_ok=True)
        os.close(handle)


def sweep(layout: Layout) -> None:
    """Remove the drafts of dead processes, and what was put away; what cannot be, stays."""
    try:
        _sweep(layout)
    except OSError as error:
        log.warning("the store of %s cannot be swept: %s", layout.model_id, error.strerror)


def put_away(path: Path, layout: Layout) -> None:
    """Take a folder out of sight at once; `sweep` deletes it."""
    layout.trash.mkdir(parents=True, exist_ok=True)
    path.rename(layout.trash / uuid.uuid4().hex)


def _sweep(layout: Layout) -> None:
    for lock in layout.drafts.glob(f"*{_LOCK}"):
        handle = try_acquire_lock(lock)
        if handle is not None:
            discard(lock.with_suffix(""))
            lock.unlink(missing_ok=True)
            os.close(handle)
    for folder in layout.trash.glob("*"):
        shutil.rmtree(folder, ignore_errors=True)
