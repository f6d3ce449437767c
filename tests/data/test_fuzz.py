"""Whatever is sent, the reader answers with a request or with an error of ours."""

import math

import numpy as np
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast.core.errors import ForecastError
from forecast.core.frequency import Frequency
from forecast.data.policy import DataPolicy
from forecast.data.requests import InferenceRequest, RequestReader
from forecast.models.base.config import ModelOptions
from forecast.models.spec import Capabilities, License, ModelSpec
from tests.examples import examples

SPEC = ModelSpec(
    model_id="example",
    name="Example",
    version="1.0",
    description="A spec to read requests for",
    default_port=8100,
    model="nowhere:Nothing",
    weights=None,
    capabilities=Capabilities(),
    license=License("Apache-2.0", True, "https://example.org"),
    extra="none",
    options=ModelOptions,
)
READER = RequestReader(DataPolicy(max_points=10_000))

FREQS = st.sampled_from(
    [
        "D",
        "h",
        "MS",
        "ME",
        "B",
        "W",
        "W-WED",
        "QE",
        "YS",
        "15min",
        "2D",
        "T",
        "bh",
        "SME",
        "WOM-2TUE",
        "ns",
        "-1D",
        "x",
        "",
        "999999999D",
        "Q-NOV",
        "C",
    ]
)
TIMES = st.sampled_from(
    [
        "2026-01-01",
        "2026-01-02",
        "2026-01-03",
        "2026-01-05",
        "2026-01-31",
        "2026-02-28",
        "2026-01-01T00:00:00Z",
        "2026-01-01T01:00:00Z",
        "2026-01-01T00:30:00+05:30",
        "1677-01-01",
        "2261-12-31",
        "9999-12-31T23:59:59-23:00",
        "0001-01-01T00:00:00+10:00",
        "20260101",
        "now",
        "",
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    TIMES,
    FREQS,
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)
NUMBERS = st.lists(st.none() | st.floats(-1e9, 1e9) | st.integers(-9, 9), min_size=1, max_size=6)


def mostly(strategy):
    """Something right, or anything at all."""
    return strategy | JSON


COVARIATES = st.dictionaries(st.sampled_from(["p", "q/~", ""]), mostly(NUMBERS), max_size=2)
SERIES = st.fixed_dictionaries(
    {"target": mostly(NUMBERS | st.lists(NUMBERS, max_size=3))},
    optional={
        "item_id": mostly(st.text(max_size=3)),
        "start": mostly(TIMES),
        "freq": mostly(FREQS),
        "timestamps": mostly(st.lists(TIMES, max_size=6)),
        "past_covariates": mostly(COVARIATES),
        "future_covariates": mostly(COVARIATES),
        "static_covariates": mostly(st.dictionaries(st.text(max_size=2), SCALARS, max_size=2)),
        "other": JSON,
    },
)
PARAMETERS = st.fixed_dictionaries(
    {"horizon": mostly(st.integers(1, 4))},
    optional={
        "quantile_levels": mostly(st.lists(st.floats(0, 1), max_size=4)),
        "context_length": mostly(st.integers(0, 5)),
        "as_of": mostly(TIMES),
        "strict": mostly(st.booleans()),
        "version": mostly(st.text(max_size=3)),
        "seed": JSON,
        "timeout_s": JSON,
        "model_options": JSON,
    },
)
NATIVE = st.fixed_dictionaries(
    {"inputs": mostly(st.lists(mostly(SERIES), max_size=3))},
    optional={"parameters": mostly(PARAMETERS)},
)
TABLE = st.fixed_dictionaries(
    {
        "data": mostly(
            st.fixed_dictionaries(
                {
                    "t": st.lists(TIMES, min_size=3, max_size=3, unique=True),
                    "y": st.lists(SCALARS, min_size=3, max_size=3),
                    "x": st.lists(SCALARS, min_size=3, max_size=3),
                }
            )
        ),
        "schema": mostly(
            st.fixed_dictionaries(
                {"target": mostly(st.sampled_from(["y", "x"]))},
                optional={
                    "timestamp": mostly(st.just("t")),
                    "item_id": mostly(st.just("x")),
                    "past_covariates": mostly(st.just(["x"])),
                    "future_covariates": mostly(st.just(["x"])),
                    "static_covariates": mostly(st.just(["x"])),
                    "freq": mostly(FREQS),
                },
            )
        ),
    },
    optional={"parameters": mostly(PARAMETERS)},
)
NAMED = st.fixed_dictionaries(
    {
        "data_source_url_or_path": mostly(
            st.sampled_from(["x.csv", "local://data/x.csv", "s3://b/x"])
        ),
        "data_definition": mostly(
            st.dictionaries(st.text(max_size=3), st.sampled_from(["target", "static_numerical"]))
        ),
    },
    optional={
        "parameters": JSON,
        "known_future": mostly(st.lists(st.text(max_size=3), max_size=2)),
        "label": mostly(st.sampled_from(["start", "end", "instant", None])),
    },
)


def attempt(body, content_type="application/json"):
    try:
        request = READER.read(body, content_type, SPEC, default_horizon=None)
    except ForecastError:
        return None
    assert isinstance(request, InferenceRequest)
    for series in request.series:
        assert series.target.dtype == np.float64
        assert series.target.ndim == 2
        assert not np.isinf(series.target).any()
        assert all(len(past) == series.length for past in series.past_covariates.values())
        assert all(len(f) == request.task.horizon for f in series.future_covariates.values())
        times = series.future_timestamps(request.task.horizon)
        assert times is None or len(times) == request.task.horizon
    return request


@settings(deadline=None, max_examples=examples(400))
@given(JSON | NATIVE | TABLE | NAMED)
def test_no_json_whatsoever_raises_anything_else(document):
    attempt(orjson.dumps(document))


@settings(deadline=None, max_examples=examples(200))
@given(NATIVE)
def test_no_native_request_raises_anything_else(document):
    attempt(orjson.dumps(document))


@given(
    st.binary(max_size=200),
    st.sampled_from(["", "application/json", "text/csv", "multipart/form-data; boundary=x"]),
)
def test_no_bytes_whatsoever_raise_anything_else(body, content_type):
    attempt(body, content_type)


@given(
    targets=st.lists(
        st.lists(
            st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20
        ),
        min_size=1,
        max_size=4,
    ),
    horizon=st.integers(1, 30),
    freq=st.sampled_from(["D", "h", "MS", "B", "W-THU", "15min", "QS", "YS"]),
    levels=st.lists(st.floats(0.001, 0.999), max_size=5, unique=True),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_valid_request_is_read_as_it_was_sent(targets, horizon, freq, levels, seed):
    document = {
        "inputs": [{"target": target, "start": "2026-01-01", "freq": freq} for target in targets],
        "parameters": {"horizon": horizon, "quantile_levels": levels, "seed": seed},
    }
    request = attempt(orjson.dumps(document))
    assert request is not None
    assert (request.task.horizon, request.task.seed) == (horizon, seed)
    assert request.task.quantile_levels == tuple(sorted(levels))
    for series, target in zip(request.series, targets, strict=True):
        sent = [math.nan if value is None else value for value in target]
        np.testing.assert_array_equal(series.target, [sent])
        assert str(series.start) == "2026-01-01T00:00:00"
        assert len(series.past_timestamps) == len(target)


@given(
    keep=st.lists(st.booleans(), min_size=4, max_size=40),
    freq=st.sampled_from(["D", "h", "MS", "ME", "B", "W-SUN", "30min", "QE"]),
)
def test_timestamps_with_gaps_land_on_their_steps(keep, freq):
    keep[0] = keep[-1] = True
    parsed = Frequency.parse(freq)
    start = {"ME": "2025-12-31", "QE": "2025-12-31", "W-SUN": "2026-01-04"}.get(freq, "2026-01-01")
    grid = parsed.timestamps(np.datetime64(start, "s"), len(keep))
    sent = [str(time) for time, kept in zip(grid, keep, strict=True) if kept]
    values = list(range(len(sent)))
    document = {"inputs": [{"target": values, "timestamps": sent, "freq": freq}]}
    request = READER.read(orjson.dumps(document), "", SPEC, default_horizon=1)
    (series,) = request.series
    assert series.length == len(keep)
    assert [not gap for gap in np.isnan(series.target[0])] == keep
    assert bool(request.warnings) == (not all(keep))
