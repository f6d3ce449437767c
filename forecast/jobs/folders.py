"""The folders of jobs: what each is to do, what it needs, its log and its result."""

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from forecast.core.atomic import discard, publish
from forecast.jobs.context import LOG
from forecast.jobs.log_file import told
from forecast.jobs.plans import PLAN, SERIES
from forecast.jobs.records import JobKind

RESULT = "result.json"
_ID = re.compile(r"(tr|bt)_[0-9a-f]{24}")
_PREFIX = {JobKind.TRAINING: "tr", JobKind.BACKTEST: "bt"}
_ORPHANED_S = 3600.0  # older than any submission that is under way


def new_id(kind: JobKind) -> str:
    """Make an id; of two of a kind the later is the greater."""
    return f"{_PREFIX[kind]}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def copy_plan(source: Path, target: Path) -> None:
    """Give a job the plan and the series of another; the folder appears whole.

    Raises:
        FileNotFoundError: the other's are not there any more.
    """
    draft = target.with_name(f".{target.name}-{os.getpid()}-draft")
    draft.mkdir(parents=True)
    try:
        for name in (PLAN, SERIES):
            _link(source / name, draft / name)
        publish(draft, target)
    finally:
        discard(draft)


def _link(source: Path, target: Path) -> None:
    """Share a file that nobody edits, or copy it where the file system cannot share."""
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(source, target)


def tidy(folder: Path, *, succeeded: bool) -> None:
    """Remove what a job that is over does not need; a failed one can be tried again."""
    discard(folder / "work")
    if succeeded:
        with suppress(OSError):
            (folder / SERIES).unlink()


def remove(root: Path, job_ids: Iterable[str]) -> None:
    for job_id in job_ids:
        discard(root / job_id)


def orphans(root: Path, known: set[str]) -> list[Path]:
    """Find what jobs that nobody knows left behind, and drafts that were never finished."""
    old = time.time() - _ORPHANED_S
    return [
        path
        for path in (root.iterdir() if root.is_dir() else ())
        if _is_ours(path) and path.name not in known and _modified(path) < old
    ]


def _is_ours(path: Path) -> bool:
    if path.name.startswith(".") and path.name.endswith("-draft"):
        return True
    return is_id(path.name) and (path / PLAN).exists()


def _modified(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return time.time()


def end_of_log(folder: Path, last: int) -> str:
    """Read the last bytes of a log, from the start of a line on, as callers may see it."""
    try:
        with (folder / LOG).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - last))
            text = file.read(last)
    except FileNotFoundError:
        return ""
    if size > last:
        text = text.partition(b"\n")[2]
    return told(text.decode(errors="replace"))
