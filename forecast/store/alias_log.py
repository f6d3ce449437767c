"""The log of alias changes: one JSON line each, only ever appended to, and the truth."""

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from forecast.core.state import Moment

log = logging.getLogger(__name__)

_END = b"\n"


class AliasChange(BaseModel):
    """One change of one alias.

    Attributes:
        version: what the alias means from now on; None where it was removed.
        previous: what it meant before; None for nothing.
        how: `rollback` goes back, so that the next one goes back further.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: Moment
    alias: str
    version: str | None
    previous: str | None = None
    who: str
    why: str = ""
    how: Literal["set", "rollback", "remove"] = "set"


class AliasLog:
    """Reads only what was added since it last looked. Safe to use from several threads."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._reading = threading.Lock()
        self._changes: list[AliasChange] = []
        self._inode = -1
        self._offset = 0

    def changes(self) -> Sequence[AliasChange]:
        """List every change, the oldest first; never written to."""
        with self._reading:
            try:
                self._read_on()
            except FileNotFoundError:
                self._inode, self._offset, self._changes = -1, 0, []
            return self._changes

    def append(self, change: AliasChange) -> None:
        """Add a line, which is on the disk when this returns; under the lock of the writers.

        What a writer left who was killed within a line is cut off first.
        """
        line = change.model_dump_json().encode() + _END
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self.changes()
        with self._file.open("ab") as file:
            file.truncate(self._offset)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _read_on(self) -> None:
        with self._file.open("rb") as file:
            state = os.fstat(file.fileno())
            if state.st_ino != self._inode or state.st_size < self._offset:
                self._inode, self._offset, self._changes = state.st_ino, 0, []
            if state.st_size == self._offset:
                return
            file.seek(self._offset)
            whole = file.read().rpartition(_END)[0]
        if whole:
            self._offset += len(whole) + len(_END)
            self._changes = self._changes + _parsed(whole)


def _parsed(lines: bytes) -> list[AliasChange]:
    changes = []
    for line in lines.split(_END):
        try:
            changes.append(AliasChange.model_validate_json(line))
        except ValidationError:
            log.warning("a line of the log of aliases cannot be read and is passed over")
    return changes
