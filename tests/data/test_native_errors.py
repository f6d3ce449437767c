import orjson
import pytest

from forecast.core.errors import BadData, ForecastError, InvalidRequest, TooLarge, UnsupportedFormat
from forecast.data.policy import DataPolicy
from forecast.data.requests import RequestReader

SERIES_ERRORS = [
    ({"target": "abc"}, "/inputs/0/target", "list of numbers"),
    ({"target": [1, "2"]}, "/inputs/0/target/1", "'2' is not a number"),
    ({"target": [1, [2]]}, "/inputs/0/target/1", "[2] is not a number"),
    ({"target": [[1, 2], 3]}, "/inputs/0/target/1", "list of numbers"),
    ({"target": [[1, 2], [3]]}, "/inputs/0/target/1", "has 1 values; expected 2"),
    ({"target": [[[1]]]}, "/inputs/0/target/0/0", "is not a number"),
    ({"start": "2026-01-01"}, "/inputs/0/freq", "together with start"),
    ({"start": "yesterday", "freq": "D"}, "/inputs/0/start", "ISO 8601"),
    ({"start": "2026-01-01T00:00:00.5", "freq": "D"}, "/inputs/0/start", "whole second"),
    ({"start": "0001-01-01T00:00:00+05:00", "freq": "D"}, "/inputs/0/start", "1678 to 2261"),
    ({"start": "2026-01-01", "freq": "fortnight"}, "/inputs/0/freq", "offset alias"),
    ({"start": "2026-01-01", "freq": "-1D"}, "/inputs/0/freq", "forward"),
    ({"start": "2026-01-03", "freq": "B"}, "/inputs/0/start", "the next one is 2026-01-05"),
    ({"start": "2261-12-31", "freq": "D"}, "/inputs/0/start", "leave the years"),
    ({"start": 5, "freq": "D"}, "/inputs/0/start", "string"),
    ({"timestamps": "2026"}, "/inputs/0/timestamps", "list of ISO 8601"),
    ({"timestamps": ["2026-01-01"] * 3}, "/inputs/0/timestamps", "expected 4"),
    ({"timestamps": ["2026-01-01", 1, 2, 3]}, "/inputs/0/timestamps/1", "ISO 8601"),
    (
        {"timestamps": ["2026-01-01", "2026-01-03", "2026-01-02", "2026-01-04"]},
        "/inputs/0/timestamps/2",
        "must increase",
    ),
    (
        {"timestamps": [f"2025-10-26T0{hour}:00" for hour in (1, 2, 2, 3)]},
        "/inputs/0/timestamps/2",
        "clock was put back",
    ),
    ({"start": "2026-01-02", "freq": "bh"}, "/inputs/0/start", "next one is 2026-01-02T09:00:00"),
    (
        {"timestamps": ["2026-01-01", "2026-01-02", "2026-01-02", "2026-01-04"]},
        "/inputs/0/timestamps/2",
        "must increase",
    ),
    (
        {
            "timestamps": ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04T05:00:00"],
            "freq": "D",
        },
        "/inputs/0/timestamps/3",
        "not on the grid",
    ),
    (
        {"timestamps": ["2026-01-01", "2026-01-31", "2026-02-07", "2026-05-04"]},
        "/inputs/0/timestamps",
        "no regular step",
    ),
    (
        {"timestamps": ["2026-01-01", "2026-01-02Z", "2026-01-03", "2026-01-04"]},
        "/inputs/0/timestamps/1",
        "ISO 8601",
    ),
    (
        {"timestamps": ["2026-01-01T00:00", "2026-01-02T00:00Z", "2026-01-03", "2026-01-04"]},
        "/inputs/0/timestamps",
        "some timestamps have a UTC offset",
    ),
    (
        {"timestamps": ["1700-01-01", "1700-01-02", "2200-01-03", "2200-01-04"], "freq": "s"},
        "/inputs/0/timestamps",
        "at most",
    ),
    (
        {"start": "2026-01-01", "freq": "D", "timestamps": ["2026-01-01"] * 4},
        "/inputs/0/start",
        "either start or timestamps",
    ),
    ({"past_covariates": {"visits": [1, 2]}}, "/inputs/0/past_covariates/visits", "expected 4"),
    ({"past_covariates": {"visits": 3}}, "/inputs/0/past_covariates/visits", "must be a list"),
    ({"past_covariates": {"v": [1, "a", 2, 3]}}, "/inputs/0/past_covariates/v", "mixes kinds"),
    (
        {"past_covariates": {"v": ["a", True, "b", "c"]}},
        "/inputs/0/past_covariates/v",
        "mixes kinds",
    ),
    ({"past_covariates": {"v": [1, {}, 2, 3]}}, "/inputs/0/past_covariates/v/1", "not a number"),
    ({"past_covariates": {"a/b~": [1]}}, "/inputs/0/past_covariates/a~1b~0", "expected 4"),
    ({"past_covariates": {"v": ["x" * 300] * 4}}, "/inputs/0/past_covariates/v/0", "longer than"),
    ({"future_covariates": {"p": [1, 0]}}, "/inputs/0/future_covariates/p", "past_covariates"),
    (
        {"past_covariates": {"p": [1, 0, 1, 0]}, "future_covariates": {"p": [1, 0, 1]}},
        "/inputs/0/future_covariates/p",
        "has 3 future values; expected 2, the horizon",
    ),
    (
        {"past_covariates": {"p": [1, 0, 1, 0]}, "future_covariates": {"p": [1, None]}},
        "/inputs/0/future_covariates/p/1",
        "needs a value at each step",
    ),
    (
        {"past_covariates": {"p": [1, 0, 1, 0]}, "future_covariates": {"p": ["a", "b"]}},
        "/inputs/0/future_covariates/p",
        "numbers in the other",
    ),
    ({"static_covariates": {"s": None}}, "/inputs/0/static_covariates/s", "number or text"),
    ({"static_covariates": {"s": [1]}}, "/inputs/0/static_covariates/s", "number or text"),
    ({"item_id": ""}, "/inputs/0/item_id", "at least 1 character"),
    ({"item_id": True}, "/inputs/0/item_id", "valid string"),
    ({"targt": [1]}, "/inputs/0/targt", "unknown field"),
    ({"past_covariates": [1]}, "/inputs/0/past_covariates", "JSON object"),
]


@pytest.mark.parametrize(("series", "pointer", "text"), SERIES_ERRORS)
def test_a_wrong_series_is_refused_at_the_field(read_one, series, pointer, text):
    with pytest.raises(InvalidRequest) as caught:
        read_one(**series)
    assert [error.pointer for error in caught.value.errors] == [pointer]
    assert text in caught.value.errors[0].detail


PARAMETER_ERRORS = [
    ({}, "/parameters/horizon", "number of steps"),
    ({"horizon": 0}, "/parameters/horizon", "greater than or equal to 1"),
    ({"horizon": "2"}, "/parameters/horizon", "integer"),
    ({"horizon": True}, "/parameters/horizon", "integer"),
    ({"horizon": 10**9}, "/parameters/horizon", "less than or equal"),
    ({"horizon": 2, "quantile_levels": [0.5, 1]}, "/parameters/quantile_levels/1", "between 0"),
    ({"horizon": 2, "quantile_levels": [0]}, "/parameters/quantile_levels/0", "between 0"),
    ({"horizon": 2, "quantile_levels": [0.5, 0.5]}, "/parameters/quantile_levels", "twice"),
    ({"horizon": 2, "quantile_levels": 0.5}, "/parameters/quantile_levels", "list"),
    ({"horizon": 2, "context_length": 0}, "/parameters/context_length", "greater"),
    ({"horizon": 2, "seed": -1}, "/parameters/seed", "greater"),
    ({"horizon": 2, "timeout_s": 0}, "/parameters/timeout_s", "greater than 0"),
    ({"horizon": 2, "timeout_s": 1e6}, "/parameters/timeout_s", "allowed"),
    ({"horizon": 2, "as_of": "soon"}, "/parameters/as_of", "date"),
    ({"horizon": 2, "model_options": {"colour": 1}}, "/parameters/model_options/colour", "unknown"),
    (
        {"horizon": 2, "model_options": {"season_length": 0}},
        "/parameters/model_options/season_length",
        "greater",
    ),
    ({"horizon": 2, "horizons": 3}, "/parameters/horizons", "unknown field"),
]


@pytest.mark.parametrize(("parameters", "pointer", "text"), PARAMETER_ERRORS)
def test_a_wrong_parameter_is_refused_at_the_field(read, parameters, pointer, text):
    with pytest.raises(InvalidRequest) as caught:
        read({"inputs": [{"target": [1, 2]}], "parameters": parameters})
    assert [error.pointer for error in caught.value.errors] == [pointer]
    assert text in caught.value.errors[0].detail


def test_every_wrong_field_is_named_at_once(read):
    with pytest.raises(InvalidRequest) as caught:
        read({"inputs": [{"targets": [1]}], "parameters": {"horizon": 0}, "x": 1})
    assert {error.pointer for error in caught.value.errors} == {
        "/inputs/0/target",
        "/inputs/0/targets",
        "/parameters/horizon",
        "/x",
    }
    assert "(and 3 more)" in caught.value.detail


def test_an_unknown_option_lists_the_known_ones(read):
    with pytest.raises(InvalidRequest, match="known are ignore_covariates, season_length"):
        read(
            {
                "inputs": [{"target": [1]}],
                "parameters": {"horizon": 1, "model_options": {"colour": 1}},
            }
        )


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"{", "not JSON"),
        (b'{"inputs": [{"target": [NaN]}]}', "write null for a missing value"),
        (b'{"inputs": [{"target": [Infinity]}]}', "write null"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_a_body_that_is_not_json_is_bad_data(reader, spec, body, text):
    with pytest.raises(BadData, match=text):
        reader.read(body, "application/json", spec, default_horizon=1)


@pytest.mark.parametrize("target", [[], [[]], [[], []]])
def test_an_empty_target_is_bad_data(read_one, target):
    with pytest.raises(BadData, match="nothing to forecast"):
        read_one(target=target)


@pytest.mark.parametrize("document", [[], 3, "x", None])
def test_a_body_that_is_no_object_is_refused(read, document):
    with pytest.raises(InvalidRequest, match="JSON object"):
        read(document)


@pytest.mark.parametrize("document", [{}, {"parameters": {}}, {"inputs": []}, {"inputs": 3}])
def test_a_request_without_series_is_refused(read, document):
    with pytest.raises(InvalidRequest, match="/inputs"):
        read(document)


def test_a_number_too_large_is_refused(reader, spec):
    with pytest.raises(ForecastError) as caught:
        reader.read(b'{"inputs": [{"target": [1, 1e999]}]}', "", spec, default_horizon=1)
    assert caught.value.status in {400, 422}


def test_an_item_id_used_twice_is_refused(read):
    with pytest.raises(InvalidRequest, match="'a' is used twice") as caught:
        read({"inputs": [{"item_id": "a", "target": [1]}] * 2}, default_horizon=1)
    assert caught.value.errors[0].pointer == "/inputs/1/item_id"


def test_a_default_id_that_was_also_given_is_refused(read):
    with pytest.raises(InvalidRequest, match="used twice"):
        read({"inputs": [{"item_id": "1", "target": [1]}, {"target": [1]}]}, default_horizon=1)


def test_too_many_series_or_points_are_too_large(spec):
    reader = RequestReader(DataPolicy(max_series=2, max_points=10))
    many = orjson.dumps({"inputs": [{"target": [1]}] * 3})
    with pytest.raises(TooLarge, match="at most 2"):
        reader.read(many, "", spec, default_horizon=1)
    long = orjson.dumps({"inputs": [{"target": [1] * 6}] * 2})
    with pytest.raises(TooLarge, match="more than 10 values"):
        reader.read(long, "", spec, default_horizon=1)


@pytest.mark.parametrize("content_type", ["text/csv", "application/x-form", "x"])
def test_a_body_of_another_type_is_unsupported(reader, spec, content_type):
    with pytest.raises(UnsupportedFormat, match="multipart/form-data"):
        reader.read(b"a", content_type, spec, default_horizon=1)


def test_json_under_a_name_of_its_own_is_read(reader, spec):
    body = orjson.dumps({"inputs": [{"target": [1]}]})
    request = reader.read(body, "application/vnd.acme+json", spec, default_horizon=1)
    assert request.series[0].length == 1
