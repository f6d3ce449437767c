import gzip
import math
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest

from forecast.core.errors import BadData, FileMissing, Forbidden, InvalidRequest
from forecast.data.policy import DataPolicy
from forecast.data.requests import RequestReader, Shape

SHARED = Path(__file__).parents[2] / "../shared/data"


def days(count, start="2026-01-01"):
    return pd.date_range(start, periods=count, freq="D").strftime("%Y-%m-%d")


FRAME = pd.DataFrame(
    {
        "date": days(8),
        "sales": [1.0, 2, 3, 4, 5, 6, 7, 8],
        "returns": [10.0, 20, 30, 40, 50, 60, 70, 80],
        "price": [5.0, 5, 6, 6, 5, 5, 6, 6],
        "day": ["a", "b", "a", "b", "a", "b", "a", "b"],
        "store": [17] * 8,
        "area": [2.5] * 8,
    }
)


@pytest.fixture
def root(tmp_path):
    FRAME.to_csv(tmp_path / "sales.csv", index=False)
    return tmp_path


@pytest.fixture
def read_file(root, spec):
    reader = RequestReader(DataPolicy(data_roots=(root,)))

    def _read(definition, _source="local://data/sales.csv", known_future=(), **parameters):
        document = {
            "data_source_url_or_path": _source,
            "data_definition": definition,
            "known_future": list(known_future),
            "parameters": {"horizon_len": 2} | parameters,
        }
        return reader.read(orjson.dumps(document), "application/json", spec, default_horizon=None)

    return _read


def test_the_whole_file_is_the_context_by_default(read_file):
    request = read_file({"sales": "target"})
    (series,) = request.series
    assert request.shape is Shape.NAMED_FILE
    assert (series.item_id, series.length, series.channels) == ("sales", 8, ())
    assert str(series.future_timestamps(1)[0]) == "2026-01-09T00:00:00"
    assert request.named_file.actual_future[0].size == 0
    assert request.task.quantile_levels == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    assert request.named_file.band_indices == (1, 3, 5, 7, 9)
    assert request.task.horizon == 2


def test_dates_cut_the_context_and_what_follows_is_the_actual_future(read_file):
    request = read_file(
        {"sales": "target"},
        context_start_date="2026-01-02",
        context_end_date="2026-01-05",
        context_len=3,
        horizon_len=4,
    )
    (series,) = request.series
    np.testing.assert_array_equal(series.target, [[3, 4, 5]])
    assert str(series.start) == "2026-01-03T00:00:00"
    np.testing.assert_array_equal(request.named_file.actual_future[0], [6, 7, 8])
    assert request.warnings == ()


def test_the_end_of_the_context_holds_all_hours_of_its_day(read_file, root):
    times = pd.date_range("2026-01-01", periods=48, freq="h")
    pd.DataFrame({"date": times, "y": range(48)}).to_csv(root / "hours.csv", index=False)
    request = read_file({"y": "target"}, _source="hours.csv", context_end_date="2026-01-01")
    assert request.series[0].length == 24
    cut = read_file({"y": "target"}, _source="hours.csv", context_end_date="2026-01-01T05:00:00")
    assert cut.series[0].length == 6


def test_covariates_of_every_role_are_taken_for_context_and_horizon(read_file):
    request = read_file(
        {
            "sales": "target",
            "price": "dynamic_numerical",
            "day": "dynamic_categorical",
            "store": "static_categorical",
            "area": "static_numerical",
        },
        known_future=["price", "day"],
        use_covariates=True,
        context_end_date="2026-01-06",
    )
    (series,) = request.series
    np.testing.assert_array_equal(series.past_covariates["price"], [5, 5, 6, 6, 5, 5])
    np.testing.assert_array_equal(series.future_covariates["price"], [6, 6])
    assert series.future_covariates["day"].tolist() == ["a", "b"]
    assert series.static_covariates == {"store": "17", "area": 2.5}
    assert request.named_file.covariates == ("price", "day", "store", "area")


def test_nothing_after_the_context_is_read_of_a_column_that_is_not_known_ahead(read_file):
    """Though the file holds it: later rows of a file are no sign that they were known."""
    definition = {"sales": "target", "price": "dynamic_numerical", "day": "dynamic_categorical"}
    asked = {"use_covariates": True, "context_end_date": "2026-01-06"}
    (series,) = read_file(definition, known_future=["day"], **asked).series
    np.testing.assert_array_equal(series.past_covariates["price"], [5, 5, 6, 6, 5, 5])
    assert list(series.future_covariates) == ["day"]
    (series,) = read_file(definition, **asked, as_of="2026-01-03").series
    assert (series.length, series.future_covariates) == (3, {})


def test_covariates_are_left_alone_unless_asked_for(read_file):
    request = read_file({"sales": "target", "price": "dynamic_numerical"})
    assert not request.series[0].past_covariates
    assert request.named_file.covariates == ()


def test_rows_with_covariates_only_are_the_future(read_file, root):
    frame = FRAME.assign(sales=[1, 2, 3, 4, 5, 6, None, None])
    frame.to_csv(root / "ahead.csv", index=False)
    (series,) = read_file(
        {"sales": "target", "price": "dynamic_numerical"},
        _source="ahead.csv",
        known_future=["price"],
        use_covariates=True,
    ).series
    assert series.length == 6
    np.testing.assert_array_equal(series.future_covariates["price"], [6, 6])


def test_each_of_several_targets_is_a_series_of_its_own(read_file):
    request = read_file({"returns": "target", "sales": "target"}, context_end_date="2026-01-07")
    assert [series.item_id for series in request.series] == ["returns", "sales"]
    assert [known.tolist() for known in request.named_file.actual_future] == [[80], [8]]


def test_missing_days_are_filled_and_told(read_file, root):
    FRAME.drop([3, 4]).sample(frac=1, random_state=0).to_csv(root / "gaps.csv", index=False)
    request = read_file({"sales": "target"}, _source="gaps.csv", context_len=100)
    np.testing.assert_array_equal(
        request.series[0].target, [[1, 2, 3, math.nan, math.nan, 6, 7, 8]]
    )
    assert request.warnings == (
        "2 missing timestamps of the file were filled with missing values",
        "the context has 8 steps, not the 100 asked",
    )


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("sales.json", lambda path: FRAME.to_json(path, orient="records")),
        ("sales.xlsx", lambda path: FRAME.to_excel(path, index=False)),
        ("sales.parquet", lambda path: FRAME.to_parquet(path)),
        ("sales.feather", lambda path: FRAME.to_feather(path)),
        ("Sales.csv", lambda path: FRAME.rename(columns={"date": "Date"}).to_csv(path)),
    ],
)
def test_every_format_gives_the_same_series(read_file, root, name, write):
    write(root / name)
    definition = {
        "sales": "target",
        "day": "dynamic_categorical",
        "store": "static_categorical",
    }
    (series,) = read_file(
        definition, _source=name, use_covariates=True, context_end_date="2026-01-06"
    ).series
    np.testing.assert_array_equal(series.target, [[1, 2, 3, 4, 5, 6]])
    assert series.past_covariates["day"].tolist() == ["a", "b", "a", "b", "a", "b"]
    assert series.static_covariates == {"store": "17"}
    assert series.freq.alias == "D"


@pytest.mark.parametrize(
    ("parameters", "levels", "indices"),
    [
        ({"use_quantiles": False}, (), ()),
        ({"quantiles": [0.9, 0.1]}, (0.1, 0.9), (1, 2)),
        ({"quantile_indices": [9, 1]}, tuple(i / 10 for i in range(1, 10)), (1, 9)),
        ({"quantile_indices": [0, 5, 5, 6]}, tuple(i / 10 for i in range(1, 10)), (5, 6)),
        (
            {"quantiles": [0.025, 0.5, 0.975], "quantile_indices": [1, 3]},
            (0.025, 0.5, 0.975),
            (1, 3),
        ),
    ],
)
def test_quantiles_and_the_indices_of_bands(read_file, parameters, levels, indices):
    request = read_file({"sales": "target"}, **parameters)
    assert request.task.quantile_levels == pytest.approx(levels)
    assert request.named_file.band_indices == indices


def test_a_model_without_quantiles_gives_none_unless_they_are_asked_for(root, point_spec):
    reader = RequestReader(DataPolicy(data_roots=(root,)))
    document = {
        "data_source_url_or_path": "sales.csv",
        "data_definition": {"sales": "target"},
    }
    body = orjson.dumps(document)
    request = reader.read(body, "application/json", point_spec, default_horizon=3)
    assert (request.task.quantile_levels, request.task.horizon) == ((), 3)
    assert request.named_file.band_indices == ()
    asked = orjson.dumps(document | {"parameters": {"use_quantiles": True}})
    with pytest.raises(InvalidRequest, match="/parameters/use_quantiles"):
        reader.read(asked, "application/json", point_spec, default_horizon=3)


ERRORS = [
    ({"sales": "price"}, {}, "/data_definition/sales", "input should be"),
    ({}, {}, "/data_definition", "at least 1 item"),
    ({"price": "dynamic_numerical"}, {}, "/data_definition", "at least one column as target"),
    ({"sales": "target"}, {"known_future": ["sales"]}, "/known_future/0", "no dynamic column"),
    ({"sales": "target"}, {"known_future": ["cost"]}, "/known_future/0", "no dynamic column"),
    ({"cost": "target"}, {}, "/data_definition/cost", "no such column; it has date, sales"),
    ({"sales": "target"}, {"horizon_len": 0}, "/parameters/horizon_len", "greater"),
    ({"sales": "target"}, {"quantile_indices": [10]}, "/parameters/quantile_indices/0", "highest"),
    ({"sales": "target"}, {"quantile_indices": [-1]}, "/parameters/quantile_indices/0", "between"),
    ({"sales": "target"}, {"quantiles": [1.5]}, "/parameters/quantiles/0", "between 0 and 1"),
    (
        {"sales": "target"},
        {"context_end_date": "2026-01"},
        "/parameters/context_end_date",
        "no date such as",
    ),
    ({"sales": "target"}, {"context_end_date": "x"}, "/parameters/context_end_date", "ISO 8601"),
    ({"sales": "target"}, {"model_options": {"a": 1}}, "/parameters/model_options/a", "unknown"),
    ({"sales": "target"}, {"horizon": 1}, "/parameters/horizon", "unknown field"),
    (
        {"sales": "target", "price": "dynamic_numerical"},
        {"use_covariates": True, "context_end_date": "2026-01-07", "known_future": ["price"]},
        "/data_definition/price",
        "'price' has no value for 2026-01-09T00:00:00; it needs one for each of the 2 steps",
    ),
    (
        {"sales": "target", "price": "static_numerical"},
        {"use_covariates": True, "context_end_date": "2026-01-06"},
        "/data_definition/price",
        "has 2 values for the file; expected one, not ['5.0', '6.0']",
    ),
]


@pytest.mark.parametrize(("definition", "parameters", "pointer", "text"), ERRORS)
def test_a_wrong_request_is_refused_at_the_field(read_file, definition, parameters, pointer, text):
    with pytest.raises(InvalidRequest) as caught:
        read_file(definition, **parameters)
    assert caught.value.errors[0].pointer == pointer
    assert text in caught.value.errors[0].detail


def test_a_missing_horizon_is_asked_for(root, spec):
    reader = RequestReader(DataPolicy(data_roots=(root,)))
    body = orjson.dumps(
        {"data_source_url_or_path": "sales.csv", "data_definition": {"sales": "target"}}
    )
    with pytest.raises(InvalidRequest, match="/parameters/horizon_len"):
        reader.read(body, "application/json", spec, default_horizon=None)


@pytest.mark.parametrize(
    ("frame", "error", "text"),
    [
        (FRAME.drop(columns="date"), BadData, "one column named 'date'"),
        (FRAME.assign(date=["2026-01-01"] * 8), InvalidRequest, "two rows have the date"),
        (FRAME.assign(date=[*days(7), "soon"]), InvalidRequest, "row 8 of the data"),
        (
            FRAME.assign(date=[*days(6), "2027-01-01", "2027-06-05T01:02:03"]),
            InvalidRequest,
            "step|grid",
        ),
        (FRAME[:2], InvalidRequest, "fewer than 3"),
        (FRAME.assign(sales=None), BadData, "no target is observed"),
        (FRAME.assign(sales="many"), InvalidRequest, "'many' is not a number"),
    ],
)
def test_a_file_that_holds_no_series_is_refused(read_file, root, frame, error, text):
    frame.to_csv(root / "bad.csv", index=False)
    with pytest.raises(error, match=text):
        read_file({"sales": "target"}, _source="bad.csv")


def test_a_context_without_rows_tells_what_the_file_has(read_file):
    with pytest.raises(BadData, match="from 2026-01-01T00:00:00 to 2026-01-08"):
        read_file({"sales": "target"}, context_start_date="2030-01-01")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("local://data/none.csv", FileMissing),
        ("../sales.csv", Forbidden),
        ("file:///etc/passwd.csv", Forbidden),
        ("ftp://example.org/x.csv", Forbidden),
        ("s3://bucket/x.csv", Forbidden),
        ("http://127.0.0.1/x.csv", Forbidden),
    ],
)
def test_a_source_that_may_not_be_read_is_refused(read_file, root, source, error):
    with pytest.raises(error) as caught:
        read_file({"sales": "target"}, _source=source)
    assert str(root) not in caught.value.detail


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not beside the repository")
def test_business_days_with_holidays_are_a_grid_with_gaps(read_file, root):
    text = gzip.decompress((SHARED / "sp500_20_daily.csv.gz").read_bytes())
    (root / "closes.csv").write_bytes(text)
    request = read_file(
        {"AAPL": "target", "XOM": "target"},
        _source="closes.csv",
        context_end_date="2022-06-30",
        context_len=256,
        horizon_len=10,
    )
    closes = pd.read_csv(root / "closes.csv").set_index("Date")
    apple = request.series[0]
    assert apple.freq.alias == "B"
    assert apple.length == 256
    assert apple.target[0, -1] == closes.loc["2022-06-30", "AAPL"]
    known = request.named_file.actual_future[1]
    assert math.isnan(known[1])  # the fourth of July
    assert known[0] == closes.loc["2022-07-01", "XOM"]
    assert known[9] == closes.loc["2022-07-14", "XOM"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not beside the repository")
def test_an_hourly_file_of_two_years_is_read(read_file, root):
    (root / "ett.csv").write_bytes(gzip.decompress((SHARED / "ETTh1.csv.gz").read_bytes()))
    request = read_file(
        {"OT": "target", "HUFL": "dynamic_numerical"},
        _source="ett.csv",
        known_future=["HUFL"],
        use_covariates=True,
        context_end_date="2018-06-25T00:00:00",
        horizon_len=24,
    )
    (series,) = request.series
    assert (series.freq.alias, series.season_length) == ("h", 24)
    assert series.future_covariates["HUFL"].shape == (24,)
    assert request.named_file.actual_future[0].shape == (24,)


def test_dates_of_a_clock_are_bounded_and_answered_on_it(root, read_file):
    dates = pd.date_range("2025-10-20", periods=10, freq="D", tz="Europe/Berlin")
    frame = FRAME[["sales"]].iloc[[0] * 10].assign(date=[date.isoformat() for date in dates])
    frame.to_csv(root / "clock.csv.gz", index=False)
    asked = {"context_start_date": "2025-10-21", "context_end_date": "2025-10-27"}
    request = read_file({"sales": "target"}, _source="local://data/clock.csv.gz", **asked)
    (series,) = request.series
    assert (series.length, series.clock) == (7, "+01:00")
    assert str(series.start) == "2025-10-21T00:00:00"
    assert [len(known) for known in request.named_file.actual_future] == [2]
    utc = {"context_start_date": "2025-10-20T22:00:00Z", "context_end_date": "2025-10-26T23:00:00Z"}
    (same,) = read_file({"sales": "target"}, _source="local://data/clock.csv.gz", **utc).series
    assert (same.start, same.length) == (series.start, series.length)
