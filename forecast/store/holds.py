"""Who uses a version: a shared lock that its process loses when it dies."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from forecast.core.atomic import acquire_lock, try_acquire_lock


class Hold:
    """Keeps a version from being removed until released, or until this process is gone."""

    def __init__(self, lock: Path) -> None:
        self._handle: int | None = acquire_lock(lock, shared=True)

    def release(self) -> None:
        """Let go; twice is fine."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


@contextmanager
def unused(lock: Path) -> Iterator[bool]:
    """Tell whether nobody holds a version, and keep everybody from it until the end if so."""
    with ExitStack() as stack:
        handle = try_acquire_lock(lock)
        if handle is not None:
            stack.callback(os.close, handle)
            stack.callback(lock.unlink, missing_ok=True)
        yield handle is not None
