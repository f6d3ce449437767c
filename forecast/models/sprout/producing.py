"""Processes that simulate training windows into shared memory, for one that trains."""

import mmap
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from forecast.models.sprout.context import BLOCK, CONTEXT, PATCH
from forecast.models.sprout.experts import EXPERTS
from forecast.models.sprout.features import CHANNELS, SCALARS, Inputs
from forecast.models.sprout.windows import Windows, training_windows

PART = 512  # windows that a process makes at a time
_PATCHES = (CONTEXT + BLOCK) // PATCH
_ROW = np.dtype(
    [
        ("steps", np.float16, (_PATCHES, PATCH * CHANNELS)),
        ("scalars", np.float32, (SCALARS,)),
        ("empty", np.bool_, (_PATCHES,)),
        ("experts", np.float32, (EXPERTS, BLOCK)),
        ("skills", np.float32, (EXPERTS,)),
        ("spread", np.float32),
        ("targets", np.float32, (BLOCK,)),
        ("weights", np.float32, (BLOCK,)),
    ]
)
Rows = npt.NDArray[np.void]


def packed(windows: Windows) -> Rows:
    """Put a batch into one array of rows, the steps in half precision."""
    rows = np.empty(len(windows.targets), dtype=_ROW)
    for name, values in (windows.inputs._asdict() | windows._asdict()).items():
        if name != "inputs":
            rows[name] = values
    return rows


def unpacked(rows: Rows) -> Windows:
    """Take rows apart again."""
    inputs = Inputs._make(rows[name] for name in Inputs._fields)
    return Windows(inputs, rows["targets"], rows["weights"])


@dataclass
class Producer:
    """Parts of a shared memory that are filled by some processes and read by this one.

    Every part is drawn from (seed, number of the part), whichever process draws it, so the
    windows are the same for any number of processes.
    """

    memory: Rows  # [slots, PART]
    free: "SimpleQueue[tuple[int, int] | None]"
    full: "SimpleQueue[tuple[int, int]]"
    seed: int
    next_part: int

    def take(self, parts: int) -> Rows:
        """Wait for `parts` parts, and give them as rows [parts · PART]."""
        rows = np.empty((parts, PART), dtype=_ROW)
        for place in range(parts):
            slot, _ = self.full.get()
            rows[place] = self.memory[slot]
            self.order(slot)
        return rows.reshape(-1)

    def order(self, slot: int) -> None:
        """Have a slot filled with the next part."""
        self.free.put((slot, self.next_part))
        self.next_part += 1

    def work(self) -> None:
        """Fill slots as ordered, until told to end."""
        while (order := self.free.get()) is not None:
            slot, part = order
            rng = np.random.default_rng((self.seed, part))
            self.memory[slot] = packed(training_windows(rng, PART))
            self.full.put(order)

    @classmethod
    def of(cls, processes: int, seed: int, first_part: int) -> Self:
        """Make the shared memory and the queues, with every slot ordered."""
        context = multiprocessing.get_context("fork")
        slots = 4 * processes + 4
        memory = np.frombuffer(mmap.mmap(-1, slots * PART * _ROW.itemsize), dtype=_ROW)
        queues: tuple[Any, Any] = (context.SimpleQueue(), context.SimpleQueue())
        producer = cls(memory.reshape(slots, PART), *queues, seed, first_part)
        for slot in range(slots):
            producer.order(slot)
        return producer


@contextmanager
def producing(processes: int, seed: int, first_part: int) -> Iterator[Producer]:
    """Run the processes while the block runs. Call it before CUDA is started."""
    context = multiprocessing.get_context("fork")
    producer = Producer.of(processes, seed, first_part)
    workers = [context.Process(target=producer.work, daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    try:
        yield producer
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def cores() -> int:
    """Count the cores this process may use."""
    return len(os.sched_getaffinity(0))
