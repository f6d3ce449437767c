"""Windows that networks are trained on, and the padded lengths that contexts share."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from math import ceil
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from forecast.core.errors import BadData, InvalidRequest
from forecast.core.types import FloatArray, Series

Mask = npt.NDArray[np.bool_]
Member = TypeVar("Member")
Output = TypeVar("Output")


@dataclass(frozen=True, slots=True, eq=False)
class WindowBatch:
    """B windows side by side; what is missing is 0, with its mask False.

    Attributes:
        past: [B, C, T] float32.
        past_observed: [B, C, T].
        future: [B, C, H] float32.
        future_observed: [B, C, H].
        past_covariates: [B, K, T] float32, in the order of the names.
        future_covariates: [B, F, H] float32, of those known ahead.
        series: [B], which series each window is of.
    """

    past: FloatArray
    past_observed: Mask
    future: FloatArray
    future_observed: Mask
    past_covariates: FloatArray
    future_covariates: FloatArray
    series: npt.NDArray[np.int64]


class Windows:
    """Every window of T + H steps whose future holds an observed value.

    A series shorter than that gives one window, padded at the start. The covariates that are
    known ahead are read from their past values, which a training series has for all steps.

    Args:
        series: all of C channels and the same numeric covariates.
        known_ahead: names of the covariates that are known for the future.
        stride: steps between the starts of neighbouring windows; the newest window of each
            series is always one of them.
    """

    def __init__(
        self,
        series: Sequence[Series],
        *,
        context_length: int,
        horizon: int,
        stride: int = 1,
        known_ahead: Sequence[str] = (),
        least_context: int | None = None,
    ) -> None:
        self.context_length = context_length
        self.horizon = horizon
        self._before = max(0, context_length - least_context) if least_context else 0
        self._targets = [self._pad(one.target) for one in series]
        self._padded = np.array(
            [
                padded.shape[1] - one.length
                for padded, one in zip(self._targets, series, strict=True)
            ]
        )
        self._past_names = sorted({name for one in series for name in one.past_covariates})
        self._known = [self._place_of(name) for name in known_ahead]
        self._covariates = [self._stack(one) for one in series]
        self._index = self._find(stride)

    def __len__(self) -> int:
        return len(self._index)

    def with_futures_from(self, first_steps: Sequence[int]) -> Self:
        """Keep the windows whose future begins at a given step of its series, or later.

        Args:
            first_steps: of each series, counted from 0.
        """
        number, start = self._index.T
        begins = start + self.context_length - self._padded[number]
        kept = copy(self)
        kept._index = self._index[begins >= np.asarray(first_steps, dtype=np.int64)[number]]
        return kept

    def batches(
        self,
        batch_size: int,
        rng: np.random.Generator | None = None,
        *,
        share: tuple[int, int] = (0, 1),
        skip: int = 0,
    ) -> Iterator[WindowBatch]:
        """Give all windows once; in random order where a generator is given.

        Args:
            skip: batches at the start that are left out.
            share: (i, n) gives the i-th of n shares of equal size; the last windows are
                given twice where they do not divide evenly, because processes that train
                together must take the same number of steps.
        """
        order = np.arange(len(self)) if rng is None else rng.permutation(len(self))
        number, count = share
        mine = np.resize(order, ceil(len(order) / count) * count)[number::count]
        for start in range(skip * batch_size, len(mine), batch_size):
            yield self.take(mine[start : start + batch_size])

    def count_batches(self, batch_size: int, shares: int = 1) -> int:
        """Count the batches of one share."""
        return ceil(ceil(len(self) / shares) / batch_size)

    def count_disjoint(self) -> int:
        """Count the most windows whose futures do not overlap."""
        numbers, starts = self._index.T
        ends = np.flatnonzero(np.diff(numbers, append=-1))  # the newest window of each series
        firsts = np.append(0, ends[:-1] + 1)
        return int(((starts[ends] - starts[firsts]) // self.horizon + 1).sum())

    @property
    def sha256(self) -> str:
        """Hash of all that the windows are cut from, and of how they are."""
        cut = (self.context_length, self.horizon, self._past_names, self._known, len(self))
        digest = hashlib.sha256(repr(cut).encode())
        for values in (*self._targets, *self._covariates, self._index):
            digest.update(repr(values.shape).encode())
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()

    def take(self, positions: npt.NDArray[np.int64]) -> WindowBatch:
        """Give the windows at these positions, in this order."""
        chosen = self._index[positions]  # [B, 2]: series and start
        whole = np.stack([self._cut(self._targets[s], at) for s, at in chosen])  # [B, C, T+H]
        beside = np.stack([self._cut(self._covariates[s], at) for s, at in chosen])
        observed = ~np.isnan(whole)
        filled = np.nan_to_num(whole).astype(np.float32)
        known = np.nan_to_num(beside).astype(np.float32)
        split = self.context_length
        return WindowBatch(
            past=filled[..., :split],
            past_observed=observed[..., :split],
            future=filled[..., split:],
            future_observed=observed[..., split:],
            past_covariates=known[..., :split],
            future_covariates=known[:, self._known, split:],
            series=chosen[:, 0],
        )

    def _place_of(self, name: str) -> int:
        if name not in self._past_names:
            there = ", ".join(self._past_names) or "none"
            raise InvalidRequest(
                f"there is no covariate {name!r} to know ahead; there are: {there}"
            )
        return self._past_names.index(name)

    def _cut(self, values: FloatArray, start: int) -> FloatArray:
        return values[:, start : start + self.context_length + self.horizon]

    def _stack(self, series: Series) -> FloatArray:
        rows = [series.past_covariates[name] for name in self._past_names]
        stacked = np.array(rows, dtype=float).reshape(len(rows), series.length)  # [K, T]
        return self._pad(stacked)

    def _pad(self, values: FloatArray) -> FloatArray:
        """Put NaN before [., T]: as much as the windows reach back, and at least one window."""
        lacking = self.context_length + self.horizon - values.shape[1]
        before = max(self._before, lacking)
        if before <= 0:
            return values
        return np.pad(values, ((0, 0), (before, 0)), constant_values=np.nan)

    def _find(self, stride: int) -> npt.NDArray[np.int64]:
        length = self.context_length + self.horizon
        found = []
        for number, target in enumerate(self._targets):
            last = target.shape[1] - length
            starts = np.arange(last, -1, -stride)[::-1]
            seen = np.cumsum(np.isfinite(target).any(axis=0), dtype=np.int64)
            future = seen[starts + length - 1] - seen[starts + self.context_length - 1]
            past = seen[starts + self.context_length - 1] - np.where(
                starts > 0, seen[starts - 1], 0
            )
            starts = starts[(future > 0) & (past > 0)]
            found.append(np.stack([np.full(len(starts), number), starts], axis=1))
        index = np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)
        if len(index) == 0:
            raise BadData(
                f"no training window: no series holds observed values in {self.context_length}"
                f" steps of context and in {self.horizon} steps after them"
            )
        return index


def rounded_up(steps: int, block: int) -> int:
    """Round up to a whole number of blocks, at least one."""
    return max(1, -(-steps // block)) * block


def context_bucket(steps: int, patch: int, longest: int) -> int:
    """Return the length a context is padded to: a power of two of patches, at most `longest`.

    It depends on the series alone, so a series is computed the same way in any company.
    """
    patches = max(1, -(-steps // patch))
    return min(patch << (patches - 1).bit_length(), longest)


def in_buckets(
    items: Sequence[Member],
    bucket_of: Callable[[Member], int],
    call: Callable[[list[Member], int], list[Output]],
    batch_size: int,
) -> list[Output]:
    """Call `call(items, bucket)` on items of one bucket, at most `batch_size` at once.

    Items of one bucket have similar lengths, so none is padded to much more than its own.

    Returns:
        The answers in the order of `items`.
    """
    places: dict[int, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        places[bucket_of(item)].append(place)
    answers: dict[int, Output] = {}
    for bucket, members in places.items():
        for first in range(0, len(members), batch_size):
            some = members[first : first + batch_size]
            answers.update(zip(some, call([items[place] for place in some], bucket), strict=True))
    return [answers[place] for place in range(len(items))]
