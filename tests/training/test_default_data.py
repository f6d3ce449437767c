"""What `/train/<model_id>` learns from when nothing is sent."""

from datetime import date, timedelta

import pytest

from forecast.core.errors import InvalidRequest, NotFound
from forecast.data.files import FileFormat
from forecast.data.tables import TableSchema
from forecast.training.data import SentFile, default_data
from forecast.training.plan import Snapshots
from forecast.training.requests import Body
from tests.training.request_helpers import SPEC, Desk

ROLES = {"timestamp": "week", "item_id": "share", "target": "close"}
WEEKS = [date(2016, 1, 1) + timedelta(weeks=week) for week in range(52 * 6)]
PRICES = "week,share,close\n" + "".join(f"{week},X,{n % 20}\n" for n, week in enumerate(WEEKS))
FROM_SCRATCH = {"mode": "from_scratch"}


@pytest.fixture
def named(tmp_path):
    """A desk whose default is a dataset."""
    desk = Desk(tmp_path, default_data("prices"))
    sent = SentFile(PRICES.encode(), FileFormat.CSV)
    desk.datasets.put("prices", sent, TableSchema.model_validate(ROLES))
    return desk


def test_every_past_year_is_asked_by_default(named):
    asked = named.short(**FROM_SCRATCH)
    assert asked.plan.snapshots == Snapshots()
    assert asked.plan.data_reference.startswith("dataset:prices@")
    assert [one.item_id for one in asked.series] == ["X"]
    assert asked.series[0].length == len(WEEKS)


def test_snapshots_are_left_out_by_the_body_or_the_query(named):
    assert named.short(**FROM_SCRATCH, snapshots=False).plan.snapshots is None
    assert named.short(**FROM_SCRATCH, skip_snapshots=True).plan.snapshots is None
    first = {"first": 2019, "last": 2020}
    assert named.short(**FROM_SCRATCH, snapshots=first).plan.snapshots == Snapshots(**first)


def test_the_body_may_be_empty_and_holds_no_data(named):
    asked = named.reader.read_default_training(Body(b""), SPEC)
    assert asked.plan.source == SPEC.weights
    with pytest.raises(InvalidRequest, match="inputs"):
        named.short(inputs=[{"target": [1, 2, 3]}])
    with pytest.raises(InvalidRequest):
        named.short(config={"horizon": 0})


def test_a_file_needs_the_roles_of_its_columns(tmp_path):
    desk = Desk(tmp_path, default_data("local://data/prices.csv", ROLES))
    desk.write("prices.csv", PRICES)
    asked = desk.short(**FROM_SCRATCH)
    assert asked.plan.data_reference == "local://data/prices.csv"
    assert asked.series[0].length == len(WEEKS)
    with pytest.raises(ValueError, match="schema"):
        default_data("local://data/prices.csv")
    with pytest.raises(ValueError, match="target"):
        default_data("prices.csv", {"timestamp": "week"})
    with pytest.raises(ValueError, match="name"):
        default_data(None, ROLES)
    assert default_data(None) is None


def test_without_default_data_it_is_said_how_to_set_them(tmp_path):
    with pytest.raises(InvalidRequest, match="FORECAST_DEFAULT_DATASET"):
        Desk(tmp_path).short(**FROM_SCRATCH)
    with pytest.raises(NotFound, match="prices"):
        Desk(tmp_path, default_data("prices")).short(**FROM_SCRATCH)
