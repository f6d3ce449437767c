"""The end of a growing log, a few lines at a time."""

from pathlib import Path

from forecast.jobs.context import LOG
from forecast.jobs.log_file import told

_MOST_LINES = 20
_LONGEST_LINE = 1000
_MOST_BYTES = 1 << 16


class LogTail:
    """Gives what was appended to a job's log since the last look; of very much, the newest."""

    def __init__(self, folder: Path) -> None:
        """Begin at the end: what is there already was told."""
        self._file = folder / LOG
        self._position = self._size()

    def lines(self) -> list[str]:
        """Read the new whole lines."""
        size = self._size()
        start = max(self._position, size - _MOST_BYTES)
        if size < self._position:  # it was cut meanwhile
            start = max(0, size - _MOST_BYTES)
        if start == size:
            return []
        with self._file.open("rb") as file:
            file.seek(start)
            whole, _, rest = file.read(size - start).rpartition(b"\n")
        self._position = size - len(rest)
        found = [line.strip() for line in whole.decode(errors="replace").splitlines()]
        return [told(line[:_LONGEST_LINE]) for line in found if line][-_MOST_LINES:]

    def _size(self) -> int:
        try:
            return self._file.stat().st_size
        except FileNotFoundError:
            return 0
