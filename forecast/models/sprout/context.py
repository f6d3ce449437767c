"""The past of a batch of series, with running sums for means of any window."""

from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

LOOK_BACK = 768  # steps the experts use
CONTEXT = 512  # steps the network sees, one by one
BLOCK = 128  # future steps of one pass
PATCH = 16


Kind = TypeVar("Kind", bound=np.generic)


def taken(values: npt.NDArray[Kind], steps: Integers) -> npt.NDArray[Kind]:
    """Pick steps [N, K] of each row [N, T]; NumPy's `take_along_axis` takes twice as long."""
    rows = np.arange(len(values))[:, None] * values.shape[1]
    picked: npt.NDArray[Kind] = values.ravel().take(rows + steps)
    return picked


class Context(NamedTuple):
    """A batch of contexts, with running sums for means of any window."""

    values: Floats  # [N, L], NaN where missing
    observed: Mask
    filled: Floats  # the last observed value, at each step
    sums: Floats  # [N, L + 1]
    counts: Floats  # [N, L + 1]
    first: Integers  # [N], the first observed step

    def mean(self, width: Integers) -> Floats:
        """Average the observed values of the last `width` steps [N], at each step: [N, L]."""
        starts = np.maximum(np.arange(1, self.values.shape[1] + 1) - width[:, None], 0)
        total = self.sums[:, 1:] - taken(self.sums, starts)
        count = self.counts[:, 1:] - taken(self.counts, starts)
        return np.where(count > 0, total / np.maximum(count, 1), self.filled)

    def latest_mean(self, width: int) -> Floats:
        """Average the observed values of the last `width` steps of the context: [N]."""
        total = self.sums[:, -1] - self.sums[:, -1 - width]
        count = self.counts[:, -1] - self.counts[:, -1 - width]
        return np.where(count > 0, total / np.maximum(count, 1), self.filled[:, -1])


def context_of(values: Floats) -> Context:
    observed = ~np.isnan(values)
    steps = np.arange(values.shape[1])
    latest = np.maximum.accumulate(np.where(observed, steps, 0), axis=1)
    first = observed.argmax(axis=1)
    latest = np.maximum(latest, first[:, None])
    filled = taken(values, latest)
    start = np.zeros((len(values), 1))
    known = np.where(observed, values, 0)
    sums = np.concatenate([start, np.cumsum(known, axis=1, dtype=np.float64)], axis=1)
    counts = np.concatenate([start, np.cumsum(observed, axis=1, dtype=np.float64)], axis=1)
    return Context(values, observed, filled, sums, counts, first)
