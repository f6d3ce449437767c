"""Which past years get a snapshot, from the times of the data."""

from collections.abc import Sequence
from datetime import date

from forecast.core.errors import InvalidRequest
from forecast.core.times import year_of
from forecast.core.types import Series
from forecast.jobs.plans import Snapshots


def last_day(year: int) -> date:
    return date(year, 12, 31)


def years_of(
    series: Sequence[Series], snapshots: Snapshots | None, cutoff: date | None = None
) -> list[int]:
    """List the years that get a snapshot of their 31 December, the earliest first.

    A year is whole where the step after the last lies beyond it: weekly data that ends on
    Friday 27 December 2019 holds 2019 whole.

    Args:
        cutoff: no snapshot is of a later day.

    Raises:
        InvalidRequest: the series do not say when their steps are.
    """
    if snapshots is None or not snapshots.yearly:
        return []
    first_of_data, last_whole = _bounds(series)
    first = first_of_data + snapshots.bootstrap_years - 1
    last = last_whole
    if cutoff is not None:
        last = min(last, cutoff.year if cutoff >= last_day(cutoff.year) else cutoff.year - 1)
    if snapshots.first is not None:
        first = max(snapshots.first, first_of_data)
    if snapshots.last is not None:
        last = min(last, snapshots.last)
    return [year for year in range(first, last + 1) if year not in snapshots.skip]


def _bounds(series: Sequence[Series]) -> tuple[int, int]:
    """Give the first year of the data, and the last that it holds whole."""
    starts, nexts = [], []
    for one in series:
        times = one.past_timestamps
        following = one.future_timestamps(1)
        if times is None or following is None:
            raise InvalidRequest(
                f"{one.item_id!r} has no times, so there are no years to train for;"
                " send start and freq, or timestamps, or leave snapshots out"
            )
        starts.append(year_of(times[0]))
        nexts.append(year_of(following[0]))
    return min(starts), max(nexts) - 1
