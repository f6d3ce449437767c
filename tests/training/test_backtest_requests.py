"""A request to backtest: a plan whose windows the series can hold."""

from dataclasses import replace

import pytest

from forecast.core.errors import InvalidRequest, LicenseNotAccepted, NotFound, NotTrainable
from forecast.models.spec import Capabilities
from forecast.training.plan import Validation
from forecast.training.requests import Body
from tests.training.request_helpers import CLOSED, FORM, SPEC, TABLE, WEEKLY, Desk, form

LONG = {"target": list(range(60)), "start": "2026-01-01", "freq": "D"}
TEN = LONG | {"target": list(range(10))}
FIXED = replace(SPEC, capabilities=Capabilities(quantiles="none", max_horizon=50))


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_what_is_asked_becomes_the_plan(desk):
    asked = desk.backtest(
        inputs=[LONG],
        horizon=3,
        windows=5,
        step=7,
        refit="every_n",
        every=2,
        quantile_levels=[0.9, 0.1],
        strict=False,
        config={"context_length": 8, "training_mode": "from_scratch"},
        validation={"horizons": 1},
        data_reference="mine",
    )
    plan = asked.plan
    assert (plan.horizon, plan.windows, plan.step) == (3, 5, 7)
    assert (plan.refit, plan.every, plan.strict) == ("every_n", 2, False)
    assert plan.quantile_levels == [0.1, 0.9]
    assert plan.config == {"context_length": 8, "training_mode": "from_scratch", "horizon": 3}
    assert plan.validation == Validation(horizons=1)
    assert plan.data_reference == "mine"
    assert asked.series[0].length == 60
    by_default = desk.backtest(inputs=[LONG]).plan
    assert (by_default.strict, by_default.refit, by_default.source) == (True, "never", None)
    assert by_default.quantile_levels == [0.1, 0.5, 0.9]
    assert by_default.config == {}
    assert desk.backtest(spec=FIXED, inputs=[LONG]).plan.quantile_levels == []


def test_weights_are_named_by_a_source_or_a_version(desk):
    assert desk.backtest(version="champion").plan.source == "store:champion"
    assert desk.backtest(source="hf:org/name").plan.source == "hf:org/name"


def test_an_upload_and_a_dataset_are_backtested_too(desk):
    sent = form(schema=TABLE["schema"], parameters={"horizon": 2, "windows": 2}, dataset="shops")
    asked = desk.reader.read_backtest(Body(sent, FORM), SPEC)
    desk.datasets.put(asked.upload.dataset, asked.upload.file, asked.upload.schema)
    again = desk.backtest(dataset="shops", windows=2)
    assert [one.item_id for one in again.series] == [one.item_id for one in asked.series]
    assert again.plan.data_reference.startswith("dataset:shops@")
    with pytest.raises(NotFound):
        desk.backtest(dataset="nothing")


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"horizon": 0}, "/horizon"),
        ({"horizon": 20_000}, "/horizon"),
        ({"windows": 0}, "/windows"),
        (
            {"inputs": [TEN], "horizon": 3, "windows": 8},
            "/windows",
        ),  # 3 + 7 steps, and one to forecast from
        ({"windows": 3, "step": 5}, "/windows"),
        ({"step": "1"}, "/step"),
        ({"refit": "weekly"}, "/refit"),
        ({"every": 2}, "/every"),
        ({"quantile_levels": [0.5, 1.5]}, "/quantile_levels/1"),
        ({"source": "somewhere"}, "/source"),
        ({"source": "store:a", "version": "b"}, "/version"),
        ({"config": {"horizon": 0}}, "/config/horizon"),
        ({"config": {"distributed": {}}}, "/config/distributed"),
        ({"refit": "yearly", "inputs": [{"target": list(range(20))}]}, "/refit"),
        (
            {
                "inputs": [TEN],
                "windows": 5,
                "refit": "every_n",
                "horizon": 3,
                "config": {"training_mode": "from_scratch"},
            },
            "/windows",
        ),
        ({"mode": "from_scratch"}, "/mode"),
    ],
)
def test_what_is_wrong_is_named(desk, fields, pointer):
    with pytest.raises(InvalidRequest) as refused:
        desk.backtest(**fields)
    assert refused.value.errors[0].pointer == pointer


def test_a_backtest_holds_just_as_many_windows_as_the_series_do(desk):
    assert desk.backtest(horizon=3, windows=7, inputs=[TEN]).plan


def test_what_the_family_cannot_do_is_refused(desk):
    with pytest.raises(NotTrainable):
        desk.backtest(spec=FIXED, inputs=[WEEKLY], refit="yearly")
    with pytest.raises(InvalidRequest, match="point forecasts"):
        desk.backtest(spec=FIXED, inputs=[WEEKLY], quantile_levels=[0.5])
    with pytest.raises(LicenseNotAccepted):
        desk.backtest(spec=CLOSED, inputs=[WEEKLY])
    assert desk.backtest(spec=CLOSED, inputs=[WEEKLY], accept_license=True).plan.accept_license
