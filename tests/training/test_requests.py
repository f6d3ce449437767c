"""What is read of a request: series, what is held back of them, and what to start from."""

import json
from dataclasses import replace

import numpy as np
import pytest

from forecast.core.errors import InvalidRequest, NotTrainable
from forecast.data.policy import DataPolicy
from forecast.models import MODEL_REGISTRY
from forecast.models.base.config import TrainingConfig
from forecast.models.spec import Capabilities
from forecast.training.requests import read_training
from forecast.training.series_files import read_series, write_series

SPEC = replace(
    MODEL_REGISTRY["lstm"],
    config=TrainingConfig,
    weights="hf:org/name",
    capabilities=Capabilities(
        fine_tunable=True,
        trainable=True,
        past_covariates=True,
        future_covariates=True,
        categorical_covariates=True,
        static_covariates=True,
        multivariate=True,
    ),
)
CONFIG = {"horizon": 2, "context_length": 3}
INPUT = {
    "target": [0, 1, 2, None, 4, 5, 6, 7, 8, 9],
    "start": "2026-01-01",
    "freq": "D",
    "past_covariates": {"promo": list(range(10)), "kind": list("ababababab")},
    "future_covariates": {"promo": [10, 11]},
    "static_covariates": {"region": "north"},
}


def plan_of(policy=None, spec=SPEC, **fields):
    document = {"inputs": [INPUT], "config": CONFIG} | fields
    if "inputs" not in fields and ("data" in fields or "data_definition" in fields):
        del document["inputs"]
    return read_training(json.dumps(document).encode(), "application/json", spec,
                         policy or DataPolicy())  # fmt: skip


def test_the_end_is_held_back_and_what_was_known_ahead_is_known_of_it():
    plan = plan_of(validation_horizons=2)
    (train,), (validation,) = plan.train, plan.validation
    np.testing.assert_array_equal(train.target, [[0, 1, 2, np.nan, 4, 5]])
    np.testing.assert_array_equal(train.past_covariates["promo"], range(6))
    np.testing.assert_array_equal(train.future_covariates["promo"], [6, 7])
    np.testing.assert_array_equal(validation.target, [[np.nan, 4, 5, 6, 7, 8, 9]])
    np.testing.assert_array_equal(validation.future_covariates["promo"], [10, 11])
    assert validation.start == np.datetime64("2026-01-04", "s")


@pytest.mark.parametrize(("share", "held"), [(0.0, 0), (0.1, 0), (0.2, 2), (0.5, 5)])
def test_a_share_is_held_back_where_it_allows_a_horizon(share, held):
    plan = plan_of(validation_share=share)
    assert plan.train[0].length == 10 - held
    assert len(plan.validation) == bool(held)


def test_a_table_and_a_file_are_learned_from_too(tmp_path):
    days = [f"2026-01-{day:02d}" for day in range(1, 11)]
    table = plan_of(
        data={"day": days * 2, "shop": ["a"] * 10 + ["b"] * 10, "sales": list(range(20))},
        schema={"timestamp": "day", "item_id": "shop", "target": "sales"},
    )
    assert [one.item_id for one in table.train] == ["a", "b"]
    (tmp_path / "sales.csv").write_text(
        "date,sales\n" + "".join(f"{day},{number}\n" for number, day in enumerate(days))
    )
    named = plan_of(
        DataPolicy(data_roots=(tmp_path,)),
        data_source_url_or_path="local://data/sales.csv",
        data_definition={"sales": "target"},
        validation_share=0,
    )
    np.testing.assert_array_equal(named.train[0].target, [range(10)])


def test_it_starts_from_its_own_weights_unless_from_scratch_or_from_others():
    assert plan_of().source == "hf:org/name"
    assert plan_of(source="local:mine").source == "local:mine"
    assert plan_of(config=CONFIG | {"training_mode": "from_scratch"}).source is None


def test_a_model_without_anything_to_learn_is_refused():
    spec = replace(SPEC, capabilities=Capabilities())
    with pytest.raises(NotTrainable):
        plan_of(spec=spec)


def test_what_only_the_operator_sets_is_refused():
    with pytest.raises(InvalidRequest) as refused:
        plan_of(spec=MODEL_REGISTRY["timegpt"], config={"base_url": "http://127.0.0.1:1"})
    assert refused.value.errors[0].pointer == "/config/base_url"


def test_series_travel_through_a_file_as_they_are(tmp_path):
    (series,) = plan_of(validation_share=0).train
    write_series(tmp_path / "series.json", [series])
    (again,) = read_series(tmp_path / "series.json")
    np.testing.assert_array_equal(again.target, series.target)
    assert (again.item_id, again.start, again.freq) == (series.item_id, series.start, series.freq)
    assert again.static_covariates == series.static_covariates
    for name, values in series.past_covariates.items():
        np.testing.assert_array_equal(again.past_covariates[name], values)
    np.testing.assert_array_equal(again.future_covariates["promo"], [10, 11])
    assert again.past_covariates["kind"].dtype.kind == "U"
    assert again.layout == series.layout
