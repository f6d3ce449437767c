import math

import numpy as np
import orjson
import pytest

from forecast.core.types import is_categorical
from forecast.data.parameters import Wanted
from forecast.data.policy import DataPolicy
from forecast.data.requests import RequestReader, Shape


def test_the_example_of_the_contract_is_read_whole(read):
    request = read(
        {
            "inputs": [
                {
                    "item_id": "store_1",
                    "target": [12, 15, None, 19],
                    "start": "2026-01-01",
                    "freq": "D",
                    "past_covariates": {"visits": [90, 88, 101, 120], "promo": [0, 0, 1, 1]},
                    "future_covariates": {"promo": [1, 0]},
                    "static_covariates": {"region": "north", "size": 3},
                }
            ],
            "parameters": {
                "horizon": 2,
                "quantile_levels": [0.9, 0.1, 0.5],
                "context_length": 512,
                "as_of": "2026-01-04",
                "strict": True,
                "version": "v7",
                "num_samples": 20,
                "seed": 7,
                "timeout_s": 30,
                "model_options": {"season_length": 7},
            },
        }
    )

    (series,) = request.series
    np.testing.assert_array_equal(series.target, [[12, 15, math.nan, 19]])
    assert (series.item_id, series.channels, series.clock) == ("store_1", (), None)
    assert (str(series.start), series.freq.alias) == ("2026-01-01T00:00:00", "D")
    np.testing.assert_array_equal(series.past_covariates["visits"], [90, 88, 101, 120])
    np.testing.assert_array_equal(series.future_covariates["promo"], [1, 0])
    assert series.static_covariates == {"region": "north", "size": 3.0}
    task = request.task
    assert (task.horizon, task.quantile_levels, task.context_length) == (2, (0.1, 0.5, 0.9), 512)
    assert (task.num_samples, task.seed, task.options.season_length) == (20, 7, 7)
    assert request.timeout_s == 30
    assert request.wanted == Wanted(np.datetime64("2026-01-04T23:59:59"), "v7", strict=True)
    assert (request.shape, request.warnings, request.named_file) == (Shape.NATIVE, (), None)


def test_what_is_not_sent_has_the_documented_default(read, spec):
    request = read({"inputs": [{"target": [1]}, {"target": [2.5]}]}, default_horizon=8)

    assert [series.item_id for series in request.series] == ["0", "1"]
    assert request.series[0].start is None
    assert request.series[0].freq is None
    assert (request.task.horizon, request.task.seed) == (8, 0)
    assert request.task.quantile_levels == (0.1, 0.5, 0.9)
    assert request.task.options == spec.options()
    assert request.timeout_s == DataPolicy().timeout_s


def test_a_model_without_quantiles_is_asked_for_none_by_default(reader, point_spec):
    body = orjson.dumps({"inputs": [{"target": [1]}], "parameters": {"horizon": 1}})
    request = reader.read(body, "application/json", point_spec, default_horizon=None)
    assert request.task.quantile_levels == ()


def test_a_list_per_channel_makes_channels(read_one):
    (series,) = read_one(target=[[1, 2, None], [4, 5, 6]]).series
    assert (series.num_channels, series.length, series.channels) == (2, 3, ("0", "1"))
    (single,) = read_one(target=[[1, 2, 3]]).series
    assert single.channels == ("0",)


@pytest.mark.parametrize(("offset", "clock"), [("+02:00", "+02:00"), ("Z", "UTC")])
def test_times_with_an_offset_are_those_of_its_clock(read_one, offset, clock):
    (series,) = read_one(start=f"2026-01-01T06:00:00{offset}", freq="h").series
    assert str(series.start) == "2026-01-01T06:00:00"
    assert series.clock == clock


@pytest.mark.parametrize("freq", ["ME", "M"])
def test_ends_of_months_with_a_start_on_the_first_mean_starts_of_months(read_one, freq):
    (series,) = read_one(start="2026-01-01", freq=freq).series
    assert series.freq.alias == "MS"
    assert str(series.future_timestamps(1)[0]) == "2026-05-01T00:00:00"


def test_a_frequency_alone_gives_a_season_but_no_times(read_one):
    (series,) = read_one(freq="h").series
    assert series.season_length == 24
    assert series.future_timestamps(2) is None


def test_gaps_in_timestamps_become_missing_values_and_a_warning(read_one):
    request = read_one(
        item_id="a",
        target=[1, 2, 3, 4],
        timestamps=["2026-01-01", "2026-01-02", "2026-01-05", "2026-01-06"],
        freq="D",
        past_covariates={"visits": [9, 8, 7, 6], "day": ["x", "y", "x", "y"]},
    )
    (series,) = request.series
    np.testing.assert_array_equal(series.target, [[1, 2, math.nan, math.nan, 3, 4]])
    np.testing.assert_array_equal(
        series.past_covariates["visits"], [9, 8, math.nan, math.nan, 7, 6]
    )
    assert series.past_covariates["day"].tolist() == ["x", "y", "", "", "x", "y"]
    assert request.warnings == (
        "2 missing timestamps of series 'a' were filled with missing values",
    )
    assert str(series.future_timestamps(1)[0]) == "2026-01-07T00:00:00"


def test_the_frequency_is_inferred_from_timestamps(read_one):
    times = ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]
    (series,) = read_one(timestamps=times).series
    assert series.freq.alias == "ME"


def test_covariates_of_text_are_categories_and_booleans_numbers(read_one):
    (series,) = read_one(
        past_covariates={"open": [True, None, False, True], "kind": ["a", "b", "a", "b"]},
        future_covariates={"open": [True, False]},
    ).series
    np.testing.assert_array_equal(series.past_covariates["open"], [1, math.nan, 0, 1])
    assert series.future_covariates["open"].tolist() == [1, 0]
    assert is_categorical(series.past_covariates["kind"])


def test_a_missing_past_value_of_a_numeric_covariate_is_nan(read_one):
    (series,) = read_one(past_covariates={"visits": [1, None, 3, 4]}).series
    assert np.isnan(series.past_covariates["visits"][1])


def test_item_ids_may_be_numbers(read_one):
    assert read_one(item_id=17).series[0].item_id == "17"


def test_only_small_inline_json_is_quick():
    reader = RequestReader(DataPolicy())
    quick = orjson.dumps({"inputs": [{"target": [1, 2]}]})
    assert reader.is_quick(quick, "application/json; charset=utf-8")
    assert not reader.is_quick(quick, "multipart/form-data; boundary=x")
    assert not reader.is_quick(orjson.dumps({"inputs": [{"target": [0] * 200_000}]}), "")
    assert reader.is_quick(orjson.dumps({"inputs": [{"target": [0.125] * 10_000}]}), "")
    assert not reader.is_quick(orjson.dumps({"inputs": [{"target": [1]}] * 3000}), "")
    timed = {"inputs": [{"target": [1] * 3000, "timestamps": ["2026-01-01"] * 3000}]}
    assert not reader.is_quick(orjson.dumps(timed), "")
    assert not reader.is_quick(orjson.dumps({"data": {"y": [1]}}), "application/json")
    assert not reader.is_quick(b'{"data_source_url_or_path": "a", "inputs": []}', "")
    spelled = b'{"data_sourc\\u0065_url_or_path": "http://x", "p": {"inputs": 1}}'
    assert not reader.is_quick(spelled, "application/json")
