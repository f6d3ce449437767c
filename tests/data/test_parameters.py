"""`as_of`, `version` and `strict` in every shape of a request: what is cut, said and refused."""

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.core.errors import InvalidRequest
from forecast.core.times import shown
from forecast.data.parameters import Wanted, read_moment
from forecast.data.policy import DataPolicy
from forecast.data.requests import RequestReader
from tests.data.conftest import make_spec

DAYS = [f"2020-01-{day:02}" for day in range(1, 11)]
SERIES = {
    "item_id": "a",
    "target": list(range(10)),
    "start": DAYS[0],
    "freq": "D",
    "past_covariates": {"visits": list(range(10)), "promo": [day % 2 for day in range(10)]},
    "future_covariates": {"promo": [7, 8, 9]},
}


def read(document, *, policy=None, content_type="application/json"):
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    reader = RequestReader(policy or DataPolicy())
    return reader.read(body, content_type, make_spec(), default_horizon=None)


def native(*, series=None, **parameters):
    parameters = {"horizon": 3} | parameters
    return read({"inputs": [SERIES | (series or {})], "parameters": parameters})


def table(**parameters):
    data = {"day": DAYS, "sales": list(range(10))}
    schema = {"timestamp": "day", "target": "sales"}
    parameters = {"horizon": 3} | parameters
    return read({"data": data, "schema": schema, "parameters": parameters})


def upload(**parameters):
    csv = "day,sales\n" + "".join(f"{day},{step}\n" for step, day in enumerate(DAYS))
    parts = {
        'name="file"; filename="sales.csv"': csv,
        'name="schema"': '{"timestamp": "day", "target": "sales"}',
        'name="parameters"': orjson.dumps({"horizon": 3} | parameters).decode(),
    }
    body = "".join(
        f"--edge\r\nContent-Disposition: form-data; {head}\r\n\r\n{text}\r\n"
        for head, text in parts.items()
    )
    return read(f"{body}--edge--\r\n".encode(), content_type="multipart/form-data; boundary=edge")


@pytest.mark.parametrize("ask", [native, table, upload])
def test_what_lies_after_the_day_is_dropped_and_said(ask):
    request = ask(as_of="2020-01-06")
    (series,) = request.series
    np.testing.assert_array_equal(series.target, [[0, 1, 2, 3, 4, 5]])
    assert str(series.future_timestamps(1)[0]) == "2020-01-07T00:00:00"
    assert request.warnings == (f"dropped 4 steps after 2020-01-06 of {series.item_id!r}",)
    assert request.wanted == Wanted(np.datetime64("2020-01-06T23:59:59"), strict=True)


@pytest.mark.parametrize("ask", [native, table, upload])
def test_a_request_as_of_a_day_is_strict_unless_it_says_otherwise(ask):
    """Strictness is about weights: what lies after the day is dropped in either case."""
    kept = ask(as_of="2020-01-06", version="v7")
    assert (kept.series[0].length, kept.wanted.version, kept.wanted.strict) == (6, "v7", True)
    assert not ask(as_of="2020-01-06", strict=False).wanted.strict
    assert not ask(version="v7").wanted.strict


def test_covariates_known_ahead_go_on_after_the_cut_and_others_end_there():
    (series,) = native(as_of="2020-01-09T12:00:00").series
    assert series.length == 8
    np.testing.assert_array_equal(series.past_covariates["visits"], range(8))
    np.testing.assert_array_equal(series.past_covariates["promo"], [0, 1] * 4)
    np.testing.assert_array_equal(series.future_covariates["promo"], [0, 1, 7])
    assert set(series.future_covariates) == {"promo"}


def test_a_covariate_that_was_missing_is_refused_where_it_is_to_be_known_ahead():
    promo = [0, 1, 0, 1, 0, 1, 0, None, 0, 1]
    past = {"visits": list(range(10)), "promo": promo}
    assert native(series={"past_covariates": past}).series[0].length == 10
    with pytest.raises(InvalidRequest, match="'promo' of series 'a' has no value 2 steps after"):
        native(series={"past_covariates": past}, as_of="2020-01-06")


@pytest.mark.parametrize("ahead", [{"promo": []}, {"promo": [7]}, {"promo": [7, 8, 9]}])
def test_what_is_known_ahead_need_not_go_on_after_a_series_that_is_cut(ahead):
    sent = {"future_covariates": ahead}
    (series,) = native(as_of="2020-01-07", series=sent).series
    np.testing.assert_array_equal(series.future_covariates["promo"], [1, 0, 1])
    if len(ahead["promo"]) < 3:
        with pytest.raises(InvalidRequest, match="expected 3, the horizon"):
            native(series=sent)
        with pytest.raises(InvalidRequest, match="no value . steps after 2020-01-09"):
            native(as_of="2020-01-09", series=sent | {"future_covariates": {"promo": []}})
    with pytest.raises(InvalidRequest, match="expected at most 3"):
        native(as_of="2020-01-07", series={"future_covariates": {"promo": [1, 2, 3, 4]}})


def test_the_same_is_true_of_categories_and_of_tables():
    kind = ["a", "b"] * 5
    past = {"past_covariates": {"kind": kind}, "future_covariates": {"kind": []}}
    (series,) = native(as_of="2020-01-07", series=past).series
    np.testing.assert_array_equal(series.future_covariates["kind"], ["b", "a", "b"])

    data = {"day": DAYS, "sales": list(range(10)), "promo": [day % 2 for day in range(10)]}
    schema = {"timestamp": "day", "target": "sales", "future_covariates": ["promo"]}
    document = {"data": data, "schema": schema}
    (series,) = read(document | {"parameters": {"horizon": 3, "as_of": "2020-01-07"}}).series
    np.testing.assert_array_equal(series.future_covariates["promo"], [1, 0, 1])
    with pytest.raises(InvalidRequest, match="expected 3, the horizon"):
        read(document | {"parameters": {"horizon": 3}})


@pytest.mark.parametrize("moment", ["2020-01-07T00:00:00Z", "2020-01-07T02:00:00+02:00"])
def test_a_time_with_an_offset_counts_in_utc(moment):
    assert native(as_of=moment, series={"start": "2020-01-01T00:00:00Z"}).series[0].length == 6


def test_a_series_without_times_or_that_begins_later_is_refused():
    with pytest.raises(InvalidRequest, match="send start and freq, or timestamps"):
        native(as_of="2020-01-06", series={"start": None, "freq": None})
    with pytest.raises(InvalidRequest, match="begins at 2020-01-01T00:00:00, after 2019-12-31"):
        native(as_of="2019-12-31")


@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [
        ({"as_of": "soon"}, "/parameters/as_of"),
        ({"as_of": "1066-10-14"}, "/parameters/as_of"),
        ({"as_of": 2020}, "/parameters/as_of"),
        ({"strict": True}, "/parameters/strict"),
        ({"as_of": "2020-01-06", "strict": "yes"}, "/parameters/strict"),
        ({"version": ""}, "/parameters/version"),
    ],
)
def test_what_cannot_be_read_is_refused(parameters, pointer):
    with pytest.raises(InvalidRequest) as refused:
        native(**parameters)
    assert [error.pointer for error in refused.value.errors] == [pointer]


VALUES = st.floats(-1e6, 1e6) | st.none()


@given(
    st.lists(VALUES, min_size=10, max_size=10),
    st.lists(VALUES, min_size=10, max_size=10),
    st.integers(1, 10),
)
def test_whatever_comes_after_the_day_changes_nothing(one, other, kept):
    """Two histories that agree up to a day are the same request as of that day."""
    changed = [*one[:kept], *other[kept:]]
    cut = [
        native(
            as_of=DAYS[kept - 1],
            series={"target": values, "past_covariates": {}, "future_covariates": {}},
        )
        for values in (one, changed)
    ]
    np.testing.assert_array_equal(cut[0].series[0].target, cut[1].series[0].target)
    assert cut[0].series[0].length == kept
    assert cut[0].warnings == cut[1].warnings


@given(st.datetimes(pd.Timestamp("1700-01-01"), pd.Timestamp("2200-01-01")))
def test_a_moment_is_shown_as_it_is_read(time):
    text = time.replace(microsecond=0).isoformat()
    assert read_moment(shown(read_moment(text, "")), "") == read_moment(text, "")
    assert shown(read_moment(text[:10], "")) == text[:10]


# The same request, cut by hand


KEPT, HORIZON = 6, 3
VISITS, PROMO = [float(day * day) for day in range(10)], [float(day % 3) for day in range(10)]


def by_native(parameters, rows, known):
    """Series inline, until a row; what is known ahead goes on until another."""
    one = {"target": list(range(rows)), "start": DAYS[0], "freq": "D"}
    one["past_covariates"] = {"visits": VISITS[:rows], "promo": PROMO[:rows]}
    return {
        "inputs": [one | {"future_covariates": {"promo": PROMO[rows:known]}}],
        "parameters": {"horizon": HORIZON} | parameters,
    }


def by_table(parameters, rows, known):
    sales = [*range(rows), *[None] * (known - rows)]
    data = {"day": DAYS[:known], "sales": sales, "visits": VISITS[:known], "promo": PROMO[:known]}
    schema = {"timestamp": "day", "target": "sales"}
    schema |= {"past_covariates": ["visits"], "future_covariates": ["promo"]}
    return {"data": data, "schema": schema, "parameters": {"horizon": HORIZON} | parameters}


def by_file(parameters, rows, known):
    roles = {"sales": "target", "visits": "dynamic_numerical", "promo": "dynamic_numerical"}
    return {
        "data_source_url_or_path": f"{rows}-{known}.csv",
        "data_definition": roles,
        "known_future": ["promo"],
        "parameters": {"horizon_len": HORIZON, "use_covariates": True} | parameters,
    }


@pytest.mark.parametrize("shape", [by_native, by_table, by_file])
def test_every_shape_gives_the_series_that_is_cut_by_hand(shape, tmp_path):
    frame = pd.DataFrame({"date": DAYS, "sales": range(10), "visits": VISITS, "promo": PROMO})
    frame.to_csv(tmp_path / "10-10.csv", index=False)
    frame.loc[KEPT:, ["sales", "visits"]] = None
    frame[: KEPT + HORIZON].to_csv(tmp_path / "6-9.csv", index=False)
    policy = DataPolicy(data_roots=(tmp_path,))
    (asked,) = read(shape({"as_of": DAYS[KEPT - 1]}, 10, 10), policy=policy).series
    (cut,) = read(shape({}, KEPT, KEPT + HORIZON), policy=policy).series
    assert (asked.start, asked.freq, asked.length) == (cut.start, cut.freq, cut.length)
    np.testing.assert_array_equal(asked.target, cut.target)
    for kind in ("past_covariates", "future_covariates"):
        one, other = getattr(asked, kind), getattr(cut, kind)
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)


# Labels


def lengths(start, freq, as_of, label=None, count=24):
    """How many steps each shape keeps of one series."""
    times = pd.date_range(start, periods=count, freq=freq)
    texts = [time.isoformat() for time in times]
    values, asked = list(range(count)), {"horizon": 1, "as_of": as_of}
    one = {"target": values, "start": texts[0], "freq": freq, "label": label}
    data, schema = {"time": texts, "y": values}, {"timestamp": "time", "target": "y"}
    schema |= {"freq": freq, "label": label}
    inline = read({"inputs": [one], "parameters": asked})
    tabular = read({"data": data, "schema": schema, "parameters": asked})
    (kept,) = {request.series[0].length for request in (inline, tabular)}
    return kept


@pytest.mark.parametrize(
    ("start", "freq", "as_of", "label", "last"),
    [
        ("2025-01-01", "MS", "2025-12-05", None, 11),  # December is not over
        ("2025-01-01", "MS", "2025-12-31", None, 12),
        ("2025-01-01", "MS", "2025-12-05", "instant", 12),
        ("2025-01-31", "ME", "2025-11-30", None, 11),
        ("2025-01-31", "ME", "2025-11-30T12:00:00", None, 10),  # nor is that day at noon
        ("2025-01-06", "W-MON", "2025-01-21", None, 2),
        ("2025-01-05", "W-SUN", "2025-01-19", None, 3),
        ("2025-01-05", "W-SUN", "2025-01-19", "start", 2),
        ("2025-01-01", "D", "2025-01-10T09:00:00", None, 9),
        ("2025-01-01", "D", "2025-01-10T09:00:00", "instant", 10),
        ("2025-01-01", "h", "2025-01-01T09:30:00", None, 9),  # until the step of 08:00
        ("2025-01-01", "h", "2025-01-01T09:00:00", None, 9),
        ("2025-01-01", "h", "2025-01-01T09:30:00", "end", 10),
        ("2025-01-01", "B", "2025-01-05", None, 3),  # Friday's is known on Sunday
    ],
)
def test_a_step_counts_once_its_period_is_over(start, freq, as_of, label, last):
    assert lengths(start, freq, as_of, label) == last


@pytest.fixture
def ask_file(tmp_path):
    frame = pd.DataFrame({"date": DAYS, "sales": range(10), "price": range(10, 20)})
    frame.to_csv(tmp_path / "sales.csv", index=False)

    def ask(label=None, **parameters):
        document = {
            "label": label,
            "data_source_url_or_path": "local://data/sales.csv",
            "data_definition": {"sales": "target", "price": "dynamic_numerical"},
            "known_future": ["price"],
            "parameters": {"horizon_len": 2, "use_covariates": True} | parameters,
        }
        return read(document, policy=DataPolicy(data_roots=(tmp_path,)))

    return ask


def test_the_context_of_a_named_file_ends_there(ask_file):
    request = ask_file(as_of="2020-01-06", version="v7")
    (series,) = request.series
    np.testing.assert_array_equal(series.target, [[0, 1, 2, 3, 4, 5]])
    np.testing.assert_array_equal(series.future_covariates["price"], [16, 17])
    np.testing.assert_array_equal(request.named_file.actual_future[0], [6, 7])
    assert (request.wanted.version, request.warnings) == ("v7", ())
    assert ask_file(as_of="2020-01-06", strict=True).series[0].length == 6


def test_a_later_end_of_the_context_is_cut(ask_file):
    request = ask_file(as_of="2020-01-06", context_end_date="2020-01-08")
    assert request.series[0].length == 6
    assert "cut at as_of, 2020-01-06; context_end_date, 2020-01-08, is later" in request.warnings[0]
    earlier = ask_file(as_of="2020-01-06", context_end_date="2020-01-05")
    assert (earlier.series[0].length, earlier.warnings) == (5, ())


def test_a_file_is_read_by_the_labels_of_its_rows(ask_file):
    assert ask_file(as_of="2020-01-06T09:00:00").series[0].length == 5
    assert ask_file(as_of="2020-01-06T09:00:00", label="instant").series[0].length == 6
