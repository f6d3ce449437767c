from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.store.stored import publish, publish_snapshot, shelf_at

YEARS = st.sets(st.integers(2000, 2006), max_size=4)


@settings(max_examples=examples(50))
@given(
    snapshots=YEARS, versions=YEARS, moment=st.datetimes(datetime(1999, 1, 1), datetime(2008, 1, 1))
)
def test_the_newest_that_has_seen_nothing_after_a_moment_is_chosen(snapshots, versions, moment):
    with TemporaryDirectory() as name:
        shelf = shelf_at(Path(name))
        for year in snapshots:
            publish_snapshot(shelf, f"{year}-12-31")
        for year in versions:
            publish(shelf, f"v{year}", cutoff=datetime(year, 6, 30, tzinfo=UTC))
        publish(shelf, "v0", cutoff=None)
        found = shelf.newest_before(moment)
        cutoffs = {one.cutoff for one in (*shelf.versions(), *shelf.snapshots()) if one.cutoff}
        seen_before = [cutoff for cutoff in cutoffs if cutoff <= moment.replace(tzinfo=UTC)]
        assert (found.cutoff if found else None) == max(seen_before, default=None)
        assert shelf.newest_before(np.datetime64(moment)) == found
        closest = shelf.closest_snapshot(moment.date())
        ends = [date(year, 12, 31) for year in snapshots]
        expected = max((day for day in ends if day <= moment.date()), default=None)
        assert (closest.metadata.cutoff_date if closest else None) == expected


def test_the_second_of_the_cutoff_counts(tmp_path):
    shelf = shelf_at(tmp_path)
    cutoff = publish_snapshot(shelf, "2020-12-31").cutoff
    assert shelf.newest_before(cutoff).name == "snapshot_2020-12-31"
    assert shelf.newest_before(cutoff - timedelta(microseconds=1)) is None


def test_a_damaged_one_is_passed_over(tmp_path):
    shelf = shelf_at(tmp_path)
    for year in (2018, 2019, 2020):
        publish_snapshot(shelf, f"{year}-12-31", "abc")
    (shelf.get("2020-12-31").path / "weights/model.safetensors").write_text("abd")
    assert shelf.newest_before(datetime(2022, 1, 1)).name == "snapshot_2019-12-31"
    assert shelf.closest_snapshot(date(2021, 12, 31)).name == "snapshot_2019-12-31"
