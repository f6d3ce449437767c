"""How long, how large and how far: what bounds a child process, and what is guessed of its end."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from forecast.jobs.log_file import MOST_BYTES


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """What a child process may take.

    Attributes:
        cancel_s: between asking it to end, SIGTERM, and SIGKILL.
        memory_bytes: of it and all that it started; None for no limit.
        log_bytes: kept of what it prints.
        poll_s: between looks at it.
    """

    cancel_s: float = 10.0
    memory_bytes: int | None = None
    log_bytes: int = MOST_BYTES
    poll_s: float = 0.5


def family_of(pid: int) -> list[psutil.Process]:
    """List a process and all that it started; those that are gone are left out."""
    with suppress(psutil.Error):
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    return []


def memory_of(pid: int) -> int:
    """Sum the resident memory of a process and all that it started, in bytes."""
    total = 0
    for process in family_of(pid):
        with suppress(psutil.Error):
            total += int(process.memory_info().rss)
    return total


class Pace:
    """Guesses how long a count takes to its end, from the steps since the first report."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[int, float] | None = None

    def eta_s(self, step: int | None, of: int | None) -> float | None:
        """Guess the seconds that are left; None before there is something to guess from."""
        if step is None or of is None:
            return None
        now = self._clock()
        if self._first is None:
            self._first = (step, now)
        done, since = self._first
        if step <= done:
            return None
        return max(0.0, (of - step) * (now - since) / (step - done))
