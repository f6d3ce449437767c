"""Processes that fit models side by side: a fit holds the interpreter's lock, a process not."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from multiprocessing import connection, get_context, parent_process
from typing import Any, TypeVar

from forecast.core.errors import HostUnavailable
from forecast.core.machine import cores

Item = TypeVar("Item")
Result = TypeVar("Result")

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_MOST_BREAKS = 2


class ProcessPool:
    """Workers that start when first needed and stay, idle, until `close`.

    Workers are spawned, never forked: whoever asks has threads. A spawned worker imports the
    program's main module first, so a script needs `if __name__ == "__main__":` around its
    work, and a server's main module should import little. Each worker runs its libraries on
    one thread. A worker that dies (out of memory, killed) costs a new set of workers and the
    items that were not answered yet; a second death in one `map` is an error. Not
    thread-safe: one thread calls `map`, as it does `predict`.
    """

    def __init__(self, module: str, max_workers: int | None = None) -> None:
        """Remember the module that workers import once, when they start.

        Args:
            module: the module of the function that `map` will be given; the import is part
                of a worker's start, not of its first item.
            max_workers: None for one a core.
        """
        self.max_workers = max_workers or cores()
        self._module = module
        self._executor: ProcessPoolExecutor | None = None

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Call `function` on every item; all items run, even where one fails.

        Args:
            function: of a module's top level, so that a worker can import it.
            items: each, and each result, must pickle.

        Returns:
            The results in the order of `items`.

        Raises:
            HostUnavailable: workers died twice.
            Exception: what `function` raised first, in the order of `items`.
        """
        futures: list[Future[Result] | None] = [None] * len(items)
        for _ in range(_MOST_BREAKS):
            for index in _unanswered(futures):
                futures[index] = self._submit(function, items[index])
            wait([future for future in futures if future is not None])
            if not _unanswered(futures):
                return [future.result() for future in futures if future is not None]
            self.close()
        raise HostUnavailable(
            "the processes that fit this model died twice; the machine may lack memory:"
            " send fewer or shorter series, or try again",
            retry_after_s=5,
        )

    def close(self) -> None:
        """End the workers; a later `map` starts new ones."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True, cancel_futures=True)

    def _submit(self, function: Callable[[Item], Result], item: Item) -> Future[Result] | None:
        """Hand one item to the workers; None where they are found dead."""
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                max_workers=self.max_workers,
                mp_context=get_context("spawn"),
                initializer=_prepare_worker,
                initargs=(self._module,),
            )
        try:
            return self._executor.submit(function, item)
        except BrokenProcessPool:
            return None


def _unanswered(futures: Sequence[Future[Any] | None]) -> list[int]:
    """Index what was not submitted, or was lost with its worker."""
    return [
        index
        for index, future in enumerate(futures)
        if future is None or isinstance(future.exception(), BrokenProcessPool)
    ]


def _prepare_worker(module: str) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for variable in _ONE_THREAD:
        os.environ[variable] = "1"
    import_module(module)


def _end_with_parent() -> None:
    """End this worker when its parent is gone: one that is killed cannot tell its workers."""
    if parent := parent_process():
        connection.wait([parent.sentinel])
        os._exit(1)
