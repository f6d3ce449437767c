"""The past of a batch of series, with running sums for means of any window."""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

LOOK_BACK = 768  # steps the experts use
CONTEXT = 512  # steps the network sees, one by one
LEAD = 32  # steps that the experts need before those that the network sees, for lags
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

    @property
    def seen(self) -> int:
        """Steps that the network sees, C: the last."""
        length: int = self.values.shape[1]
        return min(CONTEXT, length - LEAD)

    @property
    def recent(self) -> slice:
        """Those steps."""
        length = self.values.shape[1]
        return slice(length - self.seen, length)

    def of(self, rows: Integers) -> "Context":
        """Keep some of the series."""
        return Context._make(part[rows] for part in self)

    def mean(self, width: int) -> Floats:
        """Average the observed values of the last `width` steps, at each step: [N, L]."""
        total, count = (over_last(sums, width) for sums in (self.sums, self.counts))
        return np.where(count > 0, total / np.maximum(count, 1), self.filled)

    def latest_mean(self, width: int) -> Floats:
        """Average the observed values of the last `width` steps of the context: [N]."""
        total = self.sums[:, -1] - self.sums[:, -1 - width]
        count = self.counts[:, -1] - self.counts[:, -1 - width]
        return np.where(count > 0, total / np.maximum(count, 1), self.filled[:, -1])


def running(values: Floats | Mask) -> Floats:
    """Sum from the first step until each, beginning with none: [N, L, ...] to [N, L + 1, ...]."""
    count, length, *others = values.shape
    sums = np.zeros((count, length + 1, *others))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


def over_last(sums: Floats, width: int) -> Floats:
    """Sum the last `width` steps at each step, from running sums [N, L + 1, ...]: [N, L, ...]."""
    total: Floats = sums[:, 1:].copy()
    total[:, width:] -= sums[:, 1 : max(sums.shape[1] - width, 1)]
    return total


def by_season(seasons: Integers) -> Iterator[tuple[int, Integers]]:
    """Give each season and the rows that have it."""
    for season in np.unique(seasons):
        yield int(season), np.flatnonzero(seasons == season)


def context_of(values: Floats) -> Context:
    observed = ~np.isnan(values)
    steps = np.arange(values.shape[1])
    latest = np.maximum.accumulate(np.where(observed, steps, 0), axis=1)
    first = observed.argmax(axis=1)
    latest = np.maximum(latest, first[:, None])
    filled = taken(values, latest)
    sums, counts = running(np.where(observed, values, 0)), running(observed)
    return Context(values, observed, filled, sums, counts, first)
