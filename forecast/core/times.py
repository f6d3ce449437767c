"""The conversions between `datetime` and NumPy: in UTC, to the second."""

from datetime import UTC, date, datetime
from typing import Annotated

import numpy as np
from pydantic import AfterValidator

_LAST_SECOND = np.timedelta64(86_399, "s")
_YEARS = range(2, 9999)  # in which an offset leads to no year that `datetime` lacks


def day_end(day: date) -> np.datetime64:
    """Name the last second of a day, which stands for all of it."""
    return np.datetime64(day, "D") + _LAST_SECOND


def to_utc(moment: datetime | np.datetime64) -> datetime:
    """Give a moment as a `datetime` in UTC; one without an offset is in UTC already.

    Raises:
        ValueError: it is NaT, or outside the years 1 to 9999.
    """
    if isinstance(moment, np.datetime64):
        found = moment.astype("datetime64[us]").item()
        if not isinstance(found, datetime):
            raise ValueError(  # noqa: TRY004 -- NaT is of the right type
                "the moment must be a time between the years 1 and 9999"
            )
        moment = found
    has_offset = moment.tzinfo is not None and moment.year in _YEARS
    return moment.astimezone(UTC) if has_offset else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(to_utc)]


def to_datetime64(moment: datetime | np.datetime64) -> np.datetime64:
    """Give a moment as datetime64[s] in UTC; parts of a second are left out."""
    if isinstance(moment, np.datetime64):
        second: np.datetime64 = moment.astype("datetime64[s]")
        return second
    return np.datetime64(to_utc(moment).replace(tzinfo=None), "s")


def year_of(moment: np.datetime64) -> int:
    """Give the calendar year of a moment."""
    return int(moment.astype("datetime64[Y]").astype(int)) + 1970


def shown(moment: np.datetime64) -> str:
    """Write a moment: as a day where it is the end of one, which stands for all of it."""
    day = moment.astype("datetime64[D]")
    return str(day if moment == day + _LAST_SECOND else moment.astype("datetime64[s]"))
