"""The log of alias changes: one JSON line each, only ever appended to, and the truth."""

import logging
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from forecast.core.atomic import sync
from forecast.core.times import Moment

log = logging.getLogger(__name__)

How = Literal["set", "rollback", "remove"]

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
    how: How = "set"


class AliasLog:
    """Reads only what was added since it last looked. Safe to use from several threads."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._reading = threading.Lock()
        self._forget()

    def histories(self) -> dict[str, Sequence[AliasChange]]:
        """Map each alias there ever was to its changes, the oldest first."""
        with self._reading:
            self._read_on()
            return dict(self._histories)

    def meanings(self) -> dict[str, str]:
        """Map each alias there is to its version."""
        histories = self.histories()
        last = {alias: changes[-1].version for alias, changes in histories.items()}
        return {alias: version for alias, version in sorted(last.items()) if version}

    def append(self, change: AliasChange) -> None:
        """Add a line, which is on the disk when this returns; under the lock of the writers.

        What a writer left who was killed within a line is cut off first.
        """
        line = change.model_dump_json().encode() + _END
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._reading:
            self._read_on()
            whole_bytes = self._offset
        with self._file.open("ab") as file:
            file.truncate(whole_bytes)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if whole_bytes == 0:
            sync(self._file.parent)

    def _forget(self) -> None:
        self._histories: dict[str, Sequence[AliasChange]] = {}
        self._inode, self._offset = -1, 0

    def _read_on(self) -> None:
        try:
            file = self._file.open("rb")
        except FileNotFoundError:
            self._forget()
            return
        with file:
            state = os.fstat(file.fileno())
            if state.st_ino != self._inode or state.st_size < self._offset:
                self._forget()
            file.seek(self._offset)
            lines = file.read().rpartition(_END)[0]
        self._inode = state.st_ino
        if lines:
            self._offset += len(lines) + len(_END)
            self._add(lines.split(_END))

    def _add(self, lines: Iterable[bytes]) -> None:
        added: dict[str, list[AliasChange]] = {}
        for change in filter(None, map(_parsed, lines)):
            added.setdefault(change.alias, []).append(change)
        for alias, changes in added.items():
            self._histories[alias] = [*self._histories.get(alias, ()), *changes]


def _parsed(line: bytes) -> AliasChange | None:
    try:
        return AliasChange.model_validate_json(line)
    except ValidationError:
        log.warning("a line of the log of aliases cannot be read and is passed over")
        return None
