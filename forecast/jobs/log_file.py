"""The log of a job: what its processes print, the newest of it."""

import re
from pathlib import Path

from forecast.core.atomic import replacing

MOST_BYTES = 10 << 20
_CUT = "[what was here before is left out]\n"
_FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s/'\"]+/)+")


def told(text: str) -> str:
    """Leave out the folders of this machine, which are nothing to callers."""
    return _FOLDERS.sub("…/", text)


class JobLog:
    """A file that is appended to, and loses its older half where it grows too long.

    One process writes at a time; others may read.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most = most_bytes

    def write(self, printed: bytes) -> None:
        """Append."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(printed[-self._most :])
            size = file.tell()
        if size > self._most:
            self._halve(size)

    def line(self, text: str) -> None:
        """Append a line of our own."""
        self.write(f"{text}\n".encode())

    def _halve(self, size: int) -> None:
        with self._path.open("rb") as file:
            file.seek(size - self._most // 2)
            file.readline()  # the rest of a line
            newest = file.read()
        with replacing(self._path) as draft:
            draft.write_bytes(_CUT.encode() + newest)
