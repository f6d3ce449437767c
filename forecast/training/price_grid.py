"""Prices of several items on one regular grid of time, and what was known of them at each step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forecast.core.errors import BadData, InvalidRequest
from forecast.core.frequency import Timestamps
from forecast.core.spacing import Placement, infer, place
from forecast.core.types import FloatArray, Series

MOMENTUM_STEPS = 4


@dataclass(frozen=True, slots=True, eq=False)
class PriceGrid:
    """T rows of N items, which may have gaps, on a grid without any.

    Attributes:
        prices: [T, N]; NaN where an item is not listed.
        dates: [T] datetime64[s], increasing.
        steps: [T], the place of each row on the grid.
        items: the N items on the whole grid; a gap is NaN.
    """

    prices: FloatArray
    dates: Timestamps
    steps: npt.NDArray[np.int64]
    items: tuple[Series, ...]

    @classmethod
    def of(cls, prices: Any, dates: Any, item_ids: Sequence[str]) -> "PriceGrid":
        """Check what a caller brings, and find its frequency.

        Raises:
            InvalidRequest: the shapes do not fit, or the dates follow no regular step.
            BadData: a price is infinite.
        """
        values, times = np.asarray(prices, dtype=float), np.asarray(dates, dtype="datetime64[s]")
        if values.ndim != 2 or values.shape != (len(times), len(item_ids)):
            raise InvalidRequest(
                f"prices of shape {values.shape} do not fit {len(times)} dates and"
                f" {len(item_ids)} items; send a row a date and a column an item"
            )
        if len(set(item_ids)) < len(item_ids):
            raise InvalidRequest("two items have the same id")
        if np.isinf(values).any():
            raise BadData("a price is infinite; send NaN where there is none")
        placed = _placed(times)
        steps = placed.positions
        spread = np.full((steps[-1] + 1, len(item_ids)), np.nan)
        spread[steps] = values
        items = tuple(
            Series(column[None], item_id=item_id, start=placed.start, freq=placed.freq)
            for column, item_id in zip(spread.T, item_ids, strict=True)
        )
        return cls(values, times, steps, items)

    @property
    def years(self) -> npt.NDArray[np.int64]:
        """The calendar year of each row: [T]."""
        return self.dates.astype("datetime64[Y]").astype(np.int64) + 1970

    def momentum(self) -> FloatArray:
        """Measure (p[t] - p[t-4]) / p[t-4], in steps of the grid: [T, N].

        NaN where there is no price now or 4 steps before.
        """
        spread = np.concatenate([item.target for item in self.items]).T  # [L, N]
        before = self.steps - MOMENTUM_STEPS
        there = before >= 0
        changes = np.full(self.prices.shape, np.nan)
        changes[there] = relative_change(self.prices[there], spread[before[there]])
        return changes

    def known(self, row: int, item: int, context: int) -> Series:
        """Give the last `context` steps of an item, up to and including a row."""
        return self.items[item].until(int(self.steps[row]) + 1).last(context)


def relative_change(now: FloatArray, before: FloatArray) -> FloatArray:
    """Measure (now - before) / before; NaN where `before` is 0."""
    there = np.where(before == 0, np.nan, before)
    change: FloatArray = (now - there) / there
    return change


def _placed(times: Timestamps) -> Placement:
    if (np.diff(times).astype(np.int64) <= 0).any():
        raise InvalidRequest("the dates must increase from row to row")
    placed = place(times, infer(times))
    if placed.moved is not None:
        raise InvalidRequest(f"{times[placed.moved]} is beside the regular step of the dates")
    return placed
