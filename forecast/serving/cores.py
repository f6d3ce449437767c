"""How the replicas of a model share the cores of a machine."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CoreBoard:
    """A board on which each replica writes how many cores its call uses.

    A call takes its fair share, and whatever the others leave idle besides: a lone request
    runs on all cores, and as soon as requests queue at every replica each runs on its own
    share, which is faster than all of them on all cores. Nobody waits and nothing is locked: a
    board read a moment too early costs one call some speed.

    Args:
        path: a file that the replicas share, one byte for each of them.
        slot: which of the bytes is this replica's.
        cores: of the machine, for all of them.
    """

    def __init__(self, path: Path, *, slot: int, cores: int) -> None:
        with path.open("r+b") as file:
            self._board = mmap.mmap(file.fileno(), 0)
        self._slot = slot
        self._cores = cores
        self._share = max(1, cores // len(self._board))
        self._board[slot] = 0  # the process that had this slot before may have died at work

    @contextmanager
    def claim(self) -> Iterator[int]:
        """Give the number of cores to use, for the time of the block."""
        others = sum(self._board[:]) - self._board[self._slot]
        count = min(255, max(self._share, self._cores - others))
        self._board[self._slot] = count
        try:
            yield count
        finally:
            self._board[self._slot] = 0

    def close(self) -> None:
        self._board.close()
