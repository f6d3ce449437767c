from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest

from forecast.core.times import day_end, to_datetime64, to_utc, year_of

EAST = timezone(timedelta(hours=2))


def test_a_moment_is_the_same_as_a_datetime_and_in_numpy():
    moment = datetime(2021, 1, 1, 1, tzinfo=EAST)
    assert to_utc(moment) == datetime(2020, 12, 31, 23, tzinfo=UTC)
    assert to_datetime64(moment) == np.datetime64("2020-12-31T23:00:00")
    assert to_utc(np.datetime64("2020-01-02")) == to_utc(datetime(2020, 1, 2))
    assert to_datetime64(to_utc(day_end(date(2020, 12, 31)))) == day_end(date(2020, 12, 31))
    assert year_of(np.datetime64("1969-12-31T23:00:00")) == 1969


def test_the_first_and_the_last_year_have_no_offset_to_leave_them_by():
    assert to_utc(datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=5)))).year == 9999


@pytest.mark.parametrize("moment", [np.datetime64("NaT"), np.datetime64("20000-01-01")])
def test_what_is_no_moment_is_refused(moment):
    with pytest.raises(ValueError, match="must be a time"):
        to_utc(moment)
