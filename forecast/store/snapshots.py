"""Which version a past moment may be forecast with: one that has seen nothing after it."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Protocol, TypeVar

import numpy as np

from forecast.core.state import in_utc


class HasCutoff(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def cutoff(self) -> datetime | None: ...


Dated = TypeVar("Dated", bound=HasCutoff)


def newest_first(versions: Iterable[Dated], moment: datetime | np.datetime64) -> list[Dated]:
    """Order those whose cutoff is at or before a moment, the newest cutoff first.

    Those of an unknown cutoff are left out: nobody knows what they have seen.
    """
    limit = as_datetime(moment)
    known = [(one.cutoff, one.name, one) for one in versions if one.cutoff is not None]
    dated = [found for found in known if found[0] <= limit]
    dated.sort(key=lambda found: found[:2], reverse=True)
    return [found[2] for found in dated]


def as_datetime(moment: datetime | np.datetime64) -> datetime:
    """Give a moment in UTC, to the microsecond; one without an offset is in UTC already.

    Raises:
        ValueError: it is no moment (NaT), or outside the years 1 to 9999.
    """
    if isinstance(moment, datetime):
        return in_utc(moment)
    found = moment.astype("datetime64[us]").item()
    if isinstance(found, datetime):
        return found.replace(tzinfo=UTC)
    raise ValueError("the moment must be a time between the years 1 and 9999")


def end_of_day(day: date) -> datetime:
    """Name the last microsecond of a day, in UTC."""
    return datetime(day.year, day.month, day.day, 23, 59, 59, 999_999, tzinfo=UTC)
