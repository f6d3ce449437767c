"""Whatever is sent becomes a plan or an error that names what is wrong; nothing else."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecast.core.errors import ForecastError
from forecast.training.plan import BacktestPlan, TrainingPlan
from forecast.training.requests import BacktestRequest, Body, JobRequest, TrainingRequest
from tests.examples import examples
from tests.training.request_helpers import (
    CONFIG,
    CSV,
    FORM,
    INPUT,
    SPEC,
    TABLE,
    WEEKLY,
    Desk,
    form,
)

NAMES = sorted(TrainingRequest.model_fields.keys() | BacktestRequest.model_fields)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["2020-12-31", "store:current", "hf:a/b", "never", "yearly", "a.csv"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["first", "horizons", "rank", "target", "x"]), inner,
                      max_size=3),
    max_leaves=6,
)  # fmt: skip
MUTATIONS = st.dictionaries(st.sampled_from([*NAMES, "schema"]), VALUES, max_size=4)
WHOLE = st.sampled_from([
    {"inputs": [INPUT], "config": CONFIG},
    {"inputs": [WEEKLY], "snapshots": True, "cutoff": "2020-06-30"},
    {**TABLE, "config": CONFIG},
    {"inputs": [WEEKLY], "horizon": 4, "windows": 3, "refit": "every_n"},
])  # fmt: skip
LIMITS = settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def read_both(desk: Desk, sent: Body) -> list[object]:
    """Read it as each kind of request; an error must be of ours."""
    plans: list[object] = []
    refusals: list[str] = []
    reader = desk.reader
    for read in (reader.read_training, reader.read_default_training, reader.read_backtest):
        try:
            asked: JobRequest = read(sent, SPEC)
        except ForecastError as error:
            refusals.append(error.detail)
        else:
            plans.append(asked.plan)
    assert all(refusals)
    assert str(desk.folder) not in "".join(refusals)
    return plans


@LIMITS
@given(whole=WHOLE, changes=MUTATIONS)
def test_any_document_becomes_a_plan_that_can_be_written_or_an_error(desk, whole, changes):
    sent = Body(json.dumps({**whole, **changes}).encode())
    for plan in read_both(desk, sent):
        assert isinstance(plan, TrainingPlan | BacktestPlan)
        assert type(plan).model_validate_json(plan.model_dump_json()) == plan


@LIMITS
@given(content=st.binary(max_size=200), kind=st.sampled_from(["application/json", FORM, "", "x"]))
def test_any_bytes_are_an_error(desk, content, kind):
    assert read_both(desk, Body(content, kind)) == []


@LIMITS
@given(at=st.integers(0, 900), put=st.binary(max_size=4))
def test_a_spoiled_upload_becomes_a_plan_or_an_error(desk, at, put):
    whole = form(CSV, schema=TABLE["schema"], parameters={"config": CONFIG}, dataset="shops")
    at = min(at, len(whole))
    for plan in read_both(desk, Body(whole[:at] + put + whole[at + len(put) :], FORM)):
        assert isinstance(plan, TrainingPlan | BacktestPlan)
