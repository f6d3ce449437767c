import math

import numpy as np
import orjson
import pytest

from forecast.core.errors import BadData, InvalidRequest, TooLarge
from forecast.core.types import is_categorical
from forecast.data.policy import DataPolicy
from forecast.data.requests import RequestReader, Shape

DAYS = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]


@pytest.fixture
def read_table(read):
    def _read(data, _horizon=2, **schema):
        return read({"data": data, "schema": schema, "parameters": {"horizon": _horizon}})

    return _read


def test_a_long_table_becomes_a_series_per_item_in_order_of_time(read_table):
    request = read_table(
        {
            "store": ["b", "a", "b", "a", "a"],
            "day": ["2026-01-02", "2026-01-03", "2026-01-01", "2026-01-01", "2026-01-02"],
            "sales": [20, 3, 10, 1, None],
        },
        timestamp="day",
        item_id="store",
        target="sales",
        freq="D",
    )
    assert request.shape is Shape.TABLE
    b, a = request.series
    assert (b.item_id, a.item_id) == ("b", "a")
    np.testing.assert_array_equal(b.target, [[10, 20]])
    np.testing.assert_array_equal(a.target, [[1, math.nan, 3]])
    assert str(a.future_timestamps(1)[0]) == "2026-01-04T00:00:00"
    assert a.channels == ()


def test_several_targets_become_channels(read_table):
    (series,) = read_table({"x": [1, 2, 3], "y": [4, 5, 6]}, target=["x", "y"]).series
    np.testing.assert_array_equal(series.target, [[1, 2, 3], [4, 5, 6]])
    assert series.channels == ("x", "y")
    assert series.start is None


def test_rows_after_the_last_observed_target_are_the_future(read_table):
    (series,) = read_table(
        {
            "day": [*DAYS, "2026-01-05"],
            "y": [1, None, 3, None, None],
            "promo": [0, 1, 0, 1, 0],
            "visits": [7, 8, 9, None, None],
        },
        timestamp="day",
        target="y",
        past_covariates=["visits"],
        future_covariates=["promo"],
    ).series
    np.testing.assert_array_equal(series.target, [[1, math.nan, 3]])
    np.testing.assert_array_equal(series.past_covariates["promo"], [0, 1, 0])
    np.testing.assert_array_equal(series.past_covariates["visits"], [7, 8, 9])
    np.testing.assert_array_equal(series.future_covariates["promo"], [1, 0])
    assert set(series.future_covariates) == {"promo"}


def test_without_future_covariates_a_trailing_null_is_a_missing_value(read_table):
    (series,) = read_table({"y": [1, 2, None]}, target="y").series
    assert series.length == 3


def test_text_is_categories_and_constants_are_static(read_table):
    first, second = read_table(
        {
            "id": [1, 1, 2, 2],
            "y": [1.5, 2, 3, 4],
            "kind": ["x", "y", "x", None],
            "open": [True, False, True, True],
            "region": ["n", "n", "s", "s"],
            "size": [3, 3, 5, 5],
        },
        item_id="id",
        target="y",
        past_covariates=["kind", "open"],
        static_covariates=["region", "size"],
    ).series
    assert (first.item_id, second.item_id) == ("1", "2")
    assert is_categorical(first.past_covariates["kind"])
    assert second.past_covariates["kind"].tolist() == ["x", ""]
    assert first.past_covariates["open"].tolist() == [1, 0]
    assert second.static_covariates == {"region": "s", "size": 5.0}


def test_a_table_has_one_frequency_and_gaps_are_filled_for_each_item(read_table):
    request = read_table(
        {
            "id": ["d"] * 4 + ["w"] * 3 + ["e"] * 2,
            "t": ["2026-01-01", "2026-01-02", "2026-01-04", "2026-01-05"]
            + ["2026-01-01", "2026-01-08", "2026-01-15"]
            + ["2026-01-01", "2026-01-08"],
            "y": list(range(9)),
        },
        timestamp="t",
        item_id="id",
        target="y",
    )
    assert [series.freq.alias for series in request.series] == ["D", "D", "D"]
    np.testing.assert_array_equal(request.series[0].target, [[0, 1, math.nan, 2, 3]])
    assert [series.length for series in request.series] == [5, 15, 8]
    assert request.warnings == (
        "1 missing timestamp of series 'd' was filled with missing values",
        "12 missing timestamps of series 'w' were filled with missing values",
        "6 missing timestamps of series 'e' were filled with missing values",
    )


def test_columns_that_are_not_in_the_schema_are_named_in_a_warning(read_table):
    request = read_table({"y": [1, 2], "z": [1, 2], "note": ["a", "b"]}, target="y")
    assert request.warnings == ("not in the schema, so not used: z, note",)


def test_times_in_a_table_may_have_offsets(read_table):
    times = ["2026-01-01T00:00:00+01:00", "2026-01-01T01:00:00+01:00", "2026-01-01T02:00:00+01:00"]
    (series,) = read_table({"t": times, "y": [1, 2, 3]}, timestamp="t", target="y").series
    assert series.clock == "+01:00"
    assert str(series.start) == "2026-01-01T00:00:00"
    assert series.freq.alias == "h"


FULL = {"t": DAYS, "y": [1, 2, 3, 4], "x": [0, 1, 0, 1], "id": ["a"] * 4}
ERRORS = [
    ({"target": "z"}, {}, "/schema/target", "there is no column 'z'; there are t, y, x, id"),
    ({"target": []}, {}, "/schema/target", "at least one"),
    ({"target": "y", "timestamp": "y"}, {}, "/schema/target", "named twice"),
    ({"target": "y", "timestamp": "t", "freq": "x"}, {}, "/schema/freq", "offset alias"),
    (
        {"target": "y", "timestamp": "t"},
        {"t": [DAYS[0], DAYS[1], DAYS[1], DAYS[3]]},
        "/schema/timestamp",
        "series '0': two rows have the time 2026-01-02",
    ),
    (
        {"target": "y", "timestamp": "t"},
        {"t": ["2026-01-01", "2026-01-08", "2026-01-10", "2026-03-01"]},
        "/schema/timestamp",
        "no regular step",
    ),
    (
        {"target": "y", "timestamp": "t", "future_covariates": ["x"]},
        {},
        "/schema/future_covariates",
        "has 0 rows after its last observed target; expected 2",
    ),
    (
        {"target": "y", "timestamp": "t", "freq": "D", "future_covariates": ["x"]},
        {"t": ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-05"], "y": [1, 2, None, None]},
        "/schema/future_covariates",
        "has no row for 2026-01-04",
    ),
    (
        {"target": "y", "timestamp": "t", "future_covariates": ["x"]},
        {"y": [1, 2, None, None], "x": [0, 1, 1, None]},
        "/schema/future_covariates",
        "'x' of series '0' has no value 2 steps ahead",
    ),
    (
        {"target": "y", "static_covariates": ["x"]},
        {},
        "/schema/static_covariates",
        "has 2 values for series '0'; expected one",
    ),
    ({"target": "y", "targets": "y"}, {}, "/schema/targets", "unknown field"),
]


@pytest.mark.parametrize(("schema", "changes", "pointer", "text"), ERRORS)
def test_a_wrong_table_is_refused_at_the_part_of_the_schema(
    read_table, schema, changes, pointer, text
):
    with pytest.raises(InvalidRequest) as caught:
        read_table(FULL | changes, **schema)
    assert caught.value.errors[0].pointer == pointer
    assert text in caught.value.errors[0].detail


CELL_ERRORS = [
    ({"y": [1, 2, "3 kg", 4]}, "column 'y', row 3 of the data: '3 kg' is not a number"),
    ({"y": ["1", "1,5", "x", "4"]}, "column 'y', row 2 of the data: '1,5' is not a number"),
    ({"y": [1, [2], 3, 4]}, "row 2 of the data: [2] is not a number"),
    ({"t": [*DAYS[:3], "soon"]}, "column 't', row 4 of the data: 'soon' is not an ISO 8601 time"),
    ({"t": [*DAYS[:3], None]}, "row 4 of the data: is missing; each row needs a time"),
    ({"t": [1, 2, 3, 4]}, "row 1 of the data: 1 is not an ISO 8601 time such as"),
    ({"t": [*DAYS[:3], "01/02/2026"]}, "'01/02/2026' is not an ISO 8601 time"),
    ({"t": [*DAYS[:3], "2026-01-04T00:00Z"]}, "some timestamps have a UTC offset"),
    ({"t": [*DAYS[:3], "2026-01-04T00:00:00.25"]}, "whole second"),
    ({"t": [*DAYS[:3], "1500-01-01"]}, "1500-01-01"),
    ({"id": ["a", "a", None, "a"]}, "column 'id', row 3 of the data: has no item id"),
    ({"x": [1, {}, 2, 3]}, "column 'x', row 2 of the data: {} is not text"),
    ({"x": [1, "a" * 300, 2, 3]}, "column 'x', row 2 of the data: is longer than 256"),
]


@pytest.mark.parametrize(("changes", "text"), CELL_ERRORS)
def test_a_wrong_cell_is_named_by_column_and_row(read_table, changes, text):
    with pytest.raises(InvalidRequest) as caught:
        read_table(FULL | changes, timestamp="t", item_id="id", target="y", past_covariates=["x"])
    assert text in caught.value.detail


def test_numbers_among_text_are_categories_by_their_text(read_table):
    (series,) = read_table({"y": [1, 2], "x": [7.0, "a"]}, target="y", past_covariates=["x"]).series
    assert series.past_covariates["x"].tolist() == ["7", "a"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"y": [1, 2], "x": [1]}, "differ in length: 'y' has 2 values, 'x' has 1"),
        ({"y": 3}, "'y' must be a list"),
    ],
)
def test_columns_that_make_no_table_are_bad_data(read_table, data, text):
    with pytest.raises(BadData, match=text):
        read_table(data, target="y")


def test_an_item_with_nothing_observed_is_bad_data(read_table):
    with pytest.raises(BadData, match="series '0' holds no observed value"):
        read_table(
            {"t": DAYS, "y": [None] * 4, "x": [1] * 4},
            timestamp="t",
            target="y",
            future_covariates=["x"],
        )


def test_a_table_without_rows_is_bad_data(read_table):
    with pytest.raises(BadData, match="no rows"):
        read_table({"y": []}, target="y")


def test_limits_of_tables_are_kept(spec):
    def attempt(policy, data):
        document = {"data": data, "schema": {"target": "y", "item_id": "i"}}
        RequestReader(policy).read(orjson.dumps(document), "", spec, default_horizon=1)

    rows = {"y": [1, 2, 3], "i": ["a", "b", "c"]}
    with pytest.raises(TooLarge, match="at most 2"):
        attempt(DataPolicy(max_rows=2), rows)
    with pytest.raises(TooLarge, match="2 columns; at most 1"):
        attempt(DataPolicy(max_columns=1), rows)
    with pytest.raises(TooLarge, match="3 series are sent"):
        attempt(DataPolicy(max_series=2), rows)
    with pytest.raises(TooLarge, match="more than 2 values"):
        attempt(DataPolicy(max_points=2), rows)


def test_the_schema_has_one_name_only(read):
    with pytest.raises(InvalidRequest) as caught:
        read({"data": {"y": [1]}, "schema_": {"target": "y"}}, default_horizon=1)
    assert {error.pointer for error in caught.value.errors} == {"/schema", "/schema_"}
