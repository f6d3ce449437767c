from io import BytesIO

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pytest

from forecast.core.types import Forecast
from forecast.data.answers import ModelFacts, Timing, encode, negotiated, new_id
from forecast.data.inline import ForecastResponse
from forecast.data.named_file import NamedFileResponse
from forecast.data.policy import DataPolicy
from forecast.data.requests import RequestReader

MODEL = ModelFacts("chronos", "2.3.2", "hf:x/y", "2025-12-31", "abc", "cpu")
TIMING = Timing(1.23456, 40.3, 8)
STREAM = "application/vnd.apache.arrow.stream"
FILE = "application/vnd.apache.arrow.file"


def forecasts_of(request, warnings=()):
    """Forecasts whose numbers tell series, channel, level and step."""
    made = []
    for number, series in enumerate(request.series):
        shape = (series.num_channels, request.task.horizon)
        mean = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 100 * number
        levels = np.array(request.task.quantile_levels)
        quantiles = (mean[:, None, :] + levels[None, :, None]).astype(np.float32)
        levels = request.task.quantile_levels
        made.append(Forecast(mean, quantiles, levels, tuple(warnings), "native"))
    return made


def answer(request, accept="application/json", **options):
    return encode(request, forecasts_of(request, **options), MODEL, TIMING, accept)


def document(request, **options):
    body, media_type = answer(request, **options)
    assert media_type == "application/json"
    return orjson.loads(body)


def test_the_native_answer_has_every_part_of_the_contract(read_one):
    request = read_one(
        {"horizon": 2, "quantile_levels": [0.9, 0.1]},
        item_id="store_1",
        target=[12, 15, None, 19],
        start="2026-01-01",
        freq="D",
    )
    found = document(request)
    assert found.pop("id").startswith("fc_")
    assert found == {
        "model": {
            "id": "chronos",
            "version": "2.3.2",
            "source": "hf:x/y",
            "cutoff": "2025-12-31",
            "sha256": "abc",
        },
        "predictions": [
            {
                "item_id": "store_1",
                "timestamps": ["2026-01-05", "2026-01-06"],
                "mean": [0.0, 1.0],
                "quantiles": {"0.1": [0.1, 1.1], "0.9": [0.9, 1.9]},
                "intervals": "native",
            }
        ],
        "usage": {"input_points": 4, "output_points": 2},
        "timing": {"queue_ms": 1.235, "predict_ms": 40.3, "batch_size": 8},
        "warnings": [],
    }


@pytest.mark.parametrize("series", [{}, {"target": [[1, 2], [3, 4]]}, {"target": [[1, 2]]}])
def test_a_native_answer_is_what_its_schema_says(read_one, series):
    body, _ = answer(read_one(**series))
    ForecastResponse.model_validate_json(body)


def test_a_list_is_answered_with_a_list_and_lists_with_lists(read):
    request = read({"inputs": [{"target": [1, 2]}]}, default_horizon=2)
    (plain,) = document(request)["predictions"]
    assert plain["mean"] == [0, 1]
    assert "channels" not in plain
    assert "timestamps" not in plain

    request = read({"inputs": [{"target": [[1, 2], [3, 4]]}, {"target": [[1]]}]}, default_horizon=2)
    both, single = document(request)["predictions"]
    assert both["mean"] == [[0, 1], [2, 3]]
    assert both["quantiles"]["0.5"] == [[0.5, 1.5], [2.5, 3.5]]
    assert single["mean"] == [[100, 101]]


def test_views_that_are_not_contiguous_are_encoded_right(read_one):
    request = read_one({"horizon": 3, "quantile_levels": [0.1, 0.9]})
    mean = np.arange(6, dtype=np.float32)[None, ::2]
    quantiles = np.arange(12, dtype=np.float32).reshape(1, 6, 2).swapaxes(1, 2)[:, :, ::2]
    forecast = Forecast(mean, quantiles, (0.1, 0.9))
    body, _ = encode(request, [forecast], MODEL, TIMING, "")
    (prediction,) = orjson.loads(body)["predictions"]
    assert prediction["mean"] == [0, 2, 4]
    assert prediction["quantiles"] == {"0.1": [0, 4, 8], "0.9": [1, 5, 9]}


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ({"start": "2026-01-01", "freq": "D"}, ["2026-01-05", "2026-01-06"]),
        (
            {"start": "2026-01-01T09:00", "freq": "D"},
            ["2026-01-05T09:00:00", "2026-01-06T09:00:00"],
        ),
        ({"start": "2026-01-01", "freq": "h"}, ["2026-01-01T04:00:00", "2026-01-01T05:00:00"]),
        ({"start": "2026-01-01", "freq": "MS"}, ["2026-05-01", "2026-06-01"]),
        ({"start": "2025-12-31", "freq": "QE"}, ["2026-12-31", "2027-03-31"]),
        ({"start": "2026-01-01", "freq": "B"}, ["2026-01-07", "2026-01-08"]),
        (
            {"start": "2026-01-01T00:00:00Z", "freq": "12h"},
            ["2026-01-03T00:00:00Z", "2026-01-03T12:00:00Z"],
        ),
        (
            {"start": "2026-01-01T00:00:00+01:00", "freq": "D"},
            ["2026-01-05T00:00:00+01:00", "2026-01-06T00:00:00+01:00"],
        ),
    ],
)
def test_timestamps_are_written_as_their_frequency_needs(read_one, series, expected):
    (prediction,) = document(read_one(**series))["predictions"]
    assert prediction["timestamps"] == expected


def test_a_point_forecast_has_no_quantiles(read_one):
    (prediction,) = document(read_one({"horizon": 2, "quantile_levels": []}))["predictions"]
    assert prediction["quantiles"] == {}


def test_warnings_are_told_once_and_of_whom(read):
    times = ["2026-01-01", "2026-01-03", "2026-01-04"]
    request = read(
        {"inputs": [{"target": [1, 2, 3], "timestamps": times, "freq": "D"}, {"target": [1]}]},
        default_horizon=1,
    )
    filled = "1 missing timestamp of series '0' was filled with missing values"
    assert document(request, warnings=["shared", "shared"])["warnings"] == [filled, "shared"]

    one, other = forecasts_of(request)
    alone = Forecast(one.mean, one.quantiles, one.quantile_levels, ("odd",))
    body, _ = encode(request, [alone, other], MODEL, TIMING, "")
    assert orjson.loads(body)["warnings"] == [filled, "series '0': odd"]


def test_many_warnings_are_cut(read):
    request = read({"inputs": [{"target": [1]}] * 150}, default_horizon=1)
    made = [
        Forecast(one.mean, one.quantiles, one.quantile_levels, (f"w{number}",))
        for number, one in enumerate(forecasts_of(request))
    ]
    warnings = orjson.loads(encode(request, made, MODEL, TIMING, "")[0])["warnings"]
    assert len(warnings) == 101
    assert warnings[-1] == "and 50 more warnings"


def test_ids_are_unique_and_sort_by_time(monkeypatch):
    assert len({new_id() for _ in range(1000)}) == 1000
    monkeypatch.setattr("time.time_ns", lambda: 1_800_000_000_000_000_000)
    earlier = new_id()
    monkeypatch.setattr("time.time_ns", lambda: 1_800_000_000_001_000_000)
    assert earlier < new_id()
    assert len(earlier) == 3 + 26


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("Text/CSV; header=present", "text/csv"),
        (STREAM, STREAM),
        (FILE, FILE),
        ("text/html, image/png", "application/json"),
        ("text/html, text/csv;q=0.5", "text/csv"),
        ("text/csv;q=0.1, application/json;q=0.9", "application/json"),
        ("application/json;q=0.1, text/csv", "text/csv"),
        ("text/csv;q=0", "application/json"),
        ("text/csv;q=abc", "application/json"),
        (";;,,", "application/json"),
    ],
)
def test_the_answer_is_of_the_type_accepted(accept, expected):
    assert negotiated(accept) == expected


PANEL = {
    "inputs": [
        {"item_id": "a", "target": [1, 2], "start": "2026-01-01", "freq": "D"},
        {"item_id": 'b, "x"', "target": [3], "start": "2026-02-01", "freq": "D"},
    ],
    "parameters": {"horizon": 2, "quantile_levels": [0.1, 0.9]},
}


def test_csv_holds_a_row_for_each_step(read):
    body, media_type = answer(read(PANEL), "text/csv")
    assert media_type == "text/csv"
    frame = pd.read_csv(BytesIO(body))
    assert list(frame.columns) == ["item_id", "timestamp", "mean", "0.1", "0.9"]
    assert frame["item_id"].tolist() == ["a", "a", 'b, "x"', 'b, "x"']
    assert frame["timestamp"].tolist() == ["2026-01-03", "2026-01-04", "2026-02-02", "2026-02-03"]
    assert frame["mean"].tolist() == [0, 1, 100, 101]
    assert frame["0.9"].tolist() == pytest.approx([0.9, 1.9, 100.9, 101.9], rel=1e-6)


@pytest.mark.parametrize(
    ("accept", "opened"), [(STREAM, pa.ipc.open_stream), (FILE, pa.ipc.open_file)]
)
def test_arrow_holds_the_same_rows_with_types(read, accept, opened):
    body, media_type = answer(read(PANEL), accept)
    assert media_type == accept
    table = opened(body).read_all()
    assert table.schema.field("timestamp").type == pa.timestamp("s")
    assert table.schema.field("mean").type == pa.float32()
    assert table["0.1"].to_pylist() == pytest.approx([0.1, 1.1, 100.1, 101.1], rel=1e-6)
    assert str(table["timestamp"][2]) == "2026-02-02 00:00:00"


def test_arrow_times_have_a_zone_where_all_series_do(read):
    def kind(*starts):
        inputs = [{"target": [1], "start": start, "freq": "h"} for start in starts]
        request = read({"inputs": inputs}, default_horizon=1)
        table = pa.ipc.open_stream(answer(request, STREAM)[0]).read_all()
        return table.schema.field("timestamp").type

    assert kind("2026-01-01T00:00Z", "2026-01-01T00:00+01:00") == pa.timestamp("s", tz="UTC")
    assert kind("2026-01-01T00:00-05:00") == pa.timestamp("s", tz="-05:00")
    assert kind("2026-01-01T00:00Z", "2026-01-01T00:00") == pa.string()


def test_rows_of_channels_name_them_and_unknown_times_are_empty(read):
    request = read(
        {
            "data": {"x": [1, 2, 3], "y": [4, 5, 6]},
            "schema": {"target": ["x", "y"]},
            "parameters": {"horizon": 2},
        }
    )
    frame = pd.read_csv(BytesIO(answer(request, "text/csv")[0]))
    assert frame["channel"].tolist() == ["x", "x", "y", "y"]
    assert frame["timestamp"].isna().all()
    assert frame["mean"].tolist() == [0, 1, 2, 3]
    assert document(request)["predictions"][0]["channels"] == ["x", "y"]


@pytest.fixture
def read_file(tmp_path, spec):
    frame = pd.DataFrame(
        {
            "date": pd.date_range("2026-01-01", periods=6).strftime("%Y-%m-%d"),
            "x": [1.0, None, 3, 4, 5, None],
            "y": range(6),
            "p": range(6),
        }
    )
    frame.to_csv(tmp_path / "xy.csv", index=False)
    reader = RequestReader(DataPolicy(data_roots=(tmp_path,)))

    def _read(definition, **parameters):
        document = {
            "data_source_url_or_path": "xy.csv",
            "data_definition": definition,
            "parameters": {"horizon_len": 2, "context_end_date": "2026-01-04"} | parameters,
        }
        return reader.read(orjson.dumps(document), "application/json", spec, default_horizon=None)

    return _read


def test_the_named_file_answer_has_the_old_shape(read_file):
    request = read_file({"x": "target"}, quantile_indices=[1, 5, 9])
    body, media_type = answer(request, "text/csv")
    assert media_type == "application/json"
    NamedFileResponse.model_validate_json(body)
    found = orjson.loads(body)

    prediction = found["prediction"]
    assert prediction["point_forecast"] == [[0, 1]]
    assert np.shape(prediction["quantile_forecast"]) == (1, 2, 10)
    assert [row[0] for row in prediction["quantile_forecast"][0]] == [0, 1]
    assert prediction["quantile_forecast"][0][1][5] == 1.5
    assert prediction["quantile_bands"] == {
        "quantile_band_0_lower": [0.1, 1.1],
        "quantile_band_0_upper": [0.5, 1.5],
        "quantile_band_0_label": "Q10–Q50",
        "quantile_band_1_lower": [0.5, 1.5],
        "quantile_band_1_upper": [0.9, 1.9],
        "quantile_band_1_label": "Q50–Q90",
    }
    assert prediction["method"] == "basic"
    assert prediction["metadata"]["quantile_columns"][:3] == ["mean", 0.1, 0.2]
    assert prediction["metadata"]["forecast_length"] == 2
    assert found["visualization_data"] == {
        "historical_data": [1, None, 3, 4],
        "actual_future": [5],
        "dates_historical": [f"2026-01-0{day}T00:00:00" for day in range(1, 5)],
        "dates_future": ["2026-01-05T00:00:00", "2026-01-06T00:00:00"],
        "target_name": "x",
    }
    execution = found["execution_metadata"]
    assert (execution["model_id"], execution["device"]) == ("chronos", "cpu")
    assert execution["total_time_seconds"] == pytest.approx(0.041535, abs=1e-6)


def test_a_band_between_odd_levels_is_labelled_with_them(read_file):
    request = read_file({"x": "target"}, quantiles=[0.025, 0.05, 0.975])
    bands = document(request)["prediction"]["quantile_bands"]
    assert bands["quantile_band_0_label"] == "Q2.5–Q05"
    assert bands["quantile_band_1_label"] == "Q05–Q97.5"


def test_several_targets_are_answered_each(read_file):
    request = read_file(
        {"x": "target", "y": "target", "p": "dynamic_numerical"}, use_covariates=True
    )
    found = document(request)
    NamedFileResponse.model_validate(found)
    assert len(found["prediction"]["point_forecast"]) == 2
    assert found["prediction"]["method"] == "covariates_enhanced"
    assert found["visualization_data"]["by_target"]["y"] == {
        "historical_data": [0, 1, 2, 3],
        "actual_future": [4, 5],
    }
    second = found["prediction"]["quantile_bands_by_target"]["y"]
    assert second["quantile_band_0_lower"] == pytest.approx([100.1, 101.1], rel=1e-6)


def test_without_quantiles_there_are_no_bands(read_file):
    found = document(read_file({"x": "target"}, use_quantiles=False))["prediction"]
    assert found["quantile_forecast"] is None
    assert found["quantile_bands"] == {}
