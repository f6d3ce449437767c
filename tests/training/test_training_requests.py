"""A request to train: the data in every shape, whole, and a plan that was checked."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from forecast.core.errors import (
    BadData,
    FileMissing,
    Forbidden,
    InvalidRequest,
    LicenseNotAccepted,
    LooksAhead,
    NotFound,
    NotTrainable,
    UnsupportedFormat,
)
from forecast.jobs.series_files import read_series, write_series
from forecast.models import MODEL_REGISTRY
from forecast.models.spec import Capabilities
from forecast.training.plan import Snapshots, Validation
from forecast.training.requests import Body
from tests.training.request_helpers import (
    CLOSED,
    CONFIG,
    CSV,
    DAYS,
    FORM,
    INPUT,
    SPEC,
    TABLE,
    WEEKLY,
    Desk,
    body,
    form,
)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def pointer_of(refused) -> str:
    return refused.value.errors[0].pointer


# The data


def test_inline_series_stay_whole_with_all_that_is_known_beside_them(desk):
    asked = desk.train(validation={"horizons": 2})
    (series,) = asked.series
    np.testing.assert_array_equal(series.target, [[0, 1, 2, np.nan, 4, 5, 6, 7, 8, 9]])
    np.testing.assert_array_equal(series.future_covariates["promo"], [10, 11])
    assert series.static_covariates == {"region": "north"}
    assert asked.plan.validation == Validation(horizons=2)
    assert asked.plan.config == CONFIG
    assert asked.plan.data_reference is None


def test_a_covariate_is_known_ahead_without_a_value_after_the_last_step(desk):
    one = INPUT | {"future_covariates": {"promo": []}}
    (series,) = desk.train(inputs=[one]).series
    assert series.length == 10
    assert list(series.future_covariates) == ["promo"]
    assert len(series.future_covariates["promo"]) == 0
    with pytest.raises(InvalidRequest) as refused:
        desk.train(inputs=[INPUT | {"future_covariates": {"visits": []}}])
    assert pointer_of(refused) == "/inputs/0/future_covariates/visits"


def test_a_table_a_long_file_an_upload_and_a_dataset_give_the_same_series(desk):
    desk.write("sales.csv", CSV)
    named = {"data_source_url_or_path": "local://data/sales.csv", "schema": TABLE["schema"]}
    sent = Body(form(schema=TABLE["schema"], parameters={"config": CONFIG}, dataset="shops"), FORM)
    uploaded = desk.reader.read_training(sent, SPEC)
    kept = uploaded.upload
    desk.datasets.put(kept.dataset, kept.file, kept.schema)
    table = {"data": TABLE["data"] | {"sales": list(range(10)) * 2}, "schema": TABLE["schema"]}
    asked = [desk.train(**table), desk.train(**named), uploaded, desk.train(dataset="shops")]
    for one in asked:
        assert [series.item_id for series in one.series] == ["a", "b"]
        for series in one.series:
            np.testing.assert_array_equal(series.target, [range(10)])
            assert series.start == np.datetime64("2026-01-01", "s")
    references = [one.plan.data_reference for one in asked]
    assert references[:3] == [None, "local://data/sales.csv", None]
    assert references[3].startswith("dataset:shops@")
    assert desk.train(dataset="shops", data_reference="mine").plan.data_reference == "mine"


def test_other_roles_are_read_of_a_dataset_where_they_are_asked(desk):
    sent = Body(form(schema=TABLE["schema"], parameters={}, dataset="shops"), FORM)
    kept = desk.reader.read_training(sent, SPEC).upload
    desk.datasets.put(kept.dataset, kept.file, kept.schema)
    roles = {"timestamp": "day", "item_id": "shop", "target": ["sales"]}
    assert desk.train(dataset="shops", schema=roles).series[0].channels == ("sales",)
    with pytest.raises(NotFound, match="GET /forecast/v1/datasets"):
        desk.train(dataset="nothing")


def test_columns_of_a_wide_file_bring_covariates_as_far_as_the_family_uses_them(desk):
    lines = [f"{day},{number},{number % 2},x\n" for number, day in enumerate(DAYS)]
    desk.write("wide.csv", "date,sales,promo,kind\n" + "".join(lines))
    asked = {
        "data_source_url_or_path": "wide.csv",
        "data_definition": {"sales": "target", "promo": "dynamic_numerical"},
        "known_future": ["promo"],
    }
    (series,) = desk.train(**asked).series
    assert series.length == 10
    assert len(series.future_covariates["promo"]) == 0  # known ahead, of all steps there are
    past_only = replace(SPEC, capabilities=Capabilities(trainable=True, fine_tunable=True,
                                                        past_covariates=True))  # fmt: skip
    (series,) = desk.train(spec=past_only, **asked).series
    assert (list(series.past_covariates), list(series.future_covariates)) == (["promo"], [])
    (series,) = desk.train(**asked | {"known_future": [], "label": "end"}).series
    assert (list(series.past_covariates), list(series.future_covariates)) == (["promo"], [])
    assert series.label == "end"
    none = replace(SPEC, capabilities=Capabilities(trainable=True, fine_tunable=True))
    with pytest.raises(InvalidRequest, match="promo"):
        desk.train(spec=none, **asked)


def test_rows_after_the_last_target_are_what_is_known_ahead_however_many(desk):
    data = {"day": DAYS, "sales": [1.0] * 7 + [None] * 3, "promo": list(range(10))}
    schema = {"timestamp": "day", "target": "sales", "future_covariates": ["promo"]}
    (series,) = desk.train(data=data, schema=schema).series
    assert series.length == 7
    np.testing.assert_array_equal(series.future_covariates["promo"], [7, 8, 9])
    shorter = series.until(5, horizon=2)
    np.testing.assert_array_equal(shorter.future_covariates["promo"], [5, 6])
    with pytest.raises(InvalidRequest) as refused:
        desk.train(data=data, schema=schema | {"future_covariates": ["nothing"]})
    assert pointer_of(refused) == "/schema/future_covariates"


def test_series_travel_through_a_file_as_they_are(desk, tmp_path):
    (series,) = desk.train().series
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


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"data_source_url_or_path": "no.csv", "schema": TABLE["schema"]}, FileMissing),
        ({"data_source_url_or_path": "../no.csv", "schema": TABLE["schema"]}, Forbidden),
        ({"data_source_url_or_path": "no.csv"}, InvalidRequest),
        ({"inputs": [{"target": [None] * 20}]}, BadData),
        ({"inputs": [INPUT, INPUT | {"item_id": "b", "past_covariates": {}}]}, InvalidRequest),
        ({"inputs": []}, InvalidRequest),
    ],
)
def test_data_that_cannot_be_learned_from_are_refused(desk, fields, error):
    with pytest.raises(error):
        desk.train(**fields)


def test_a_request_without_data_or_of_another_kind_says_what_to_send(desk):
    with pytest.raises(InvalidRequest, match="send inputs"):
        desk.reader.read_training(body({"config": CONFIG}), SPEC)
    with pytest.raises(UnsupportedFormat, match="multipart"):
        desk.reader.read_training(Body(b"a,b\n1,2\n", "text/csv"), SPEC)
    with pytest.raises(InvalidRequest):
        desk.reader.read_training(body([INPUT]), SPEC)


@pytest.mark.parametrize(
    ("fields", "pointers"),
    [
        ({"inputs": [INPUT], "dataset": "shops"}, ["/dataset"]),
        ({"inputs": [INPUT], "schema": TABLE["schema"]}, ["/schema"]),
        ({"inputs": [INPUT], "label": "end"}, ["/label"]),
        ({"data": TABLE["data"]}, ["/schema"]),
        ({"dataset": "shops", "known_future": ["a"]}, ["/known_future"]),
        ({"data_source_url_or_path": "a.csv"}, ["/data_definition"]),
        (
            {"data_source_url_or_path": "a.csv", "schema": TABLE["schema"], "label": "end"},
            ["/label"],
        ),
        (
            {"data_source_url_or_path": "a.csv", "data_definition": {"a": "target"}, **TABLE},
            ["/data_definition", "/data_source_url_or_path"],
        ),
    ],
)
def test_the_data_come_from_one_place_with_the_fields_that_go_with_it(desk, fields, pointers):
    with pytest.raises(InvalidRequest) as refused:
        desk.train(**fields)
    assert sorted(error.pointer for error in refused.value.errors) == pointers


# What is asked of the training


def test_what_has_a_field_of_its_own_becomes_part_of_the_configuration(desk):
    shared = {"strategy": "fsdp", "processes": 3}
    plan = desk.train(mode="from_scratch", lora={"rank": 4}, distributed=shared).plan
    assert plan.config["training_mode"] == "from_scratch"
    assert plan.config["lora"] == {"rank": 4}
    assert plan.config["distributed"]["strategy"] == "fsdp"
    assert plan.processes == 3
    assert desk.train(lora=True).plan.config["lora"] == {}
    assert "lora" not in desk.train(lora=False).plan.config
    assert desk.train().plan.processes == 1
    agreed = CONFIG | {"training_mode": "from_scratch"}
    assert desk.train(config=agreed, mode="from_scratch").plan.config == agreed


def test_validation_has_a_default_and_one_name(desk):
    assert desk.train(validation={"share": 0.5}).plan.validation == Validation(share=0.5)
    assert desk.train().plan.validation == Validation()


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"config": {"horizon": 0}}, "/config/horizon"),
        ({"config": {"horizon": "2"}}, "/config/horizon"),
        ({"config": {"hidden": 2}}, "/config/hidden"),
        ({"mode": "zero_shot"}, "/mode"),
        ({"mode": "fine_tune", "config": {"training_mode": "from_scratch"}}, "/mode"),
        ({"lora": {"rank": 0}}, "/lora/rank"),
        ({"lora": {"rang": 2}}, "/lora/rang"),
        ({"lora": "yes"}, "/lora"),
        ({"lora": True, "config": {"lora": {"rank": 2}}}, "/lora"),
        ({"distributed": {"processes": 1}}, "/distributed/processes"),
        ({"source": "somewhere"}, "/source"),
        ({"source": "store:current", "mode": "from_scratch"}, "/source"),
        ({"cutoff": "2026-13-01"}, "/cutoff"),
        ({"cutoff": 5}, "/cutoff"),
        ({"cutoff": "2025-12-31"}, "/cutoff"),
        ({"cutoff": "2026-01-03", "validation": {"horizons": 1}}, "/cutoff"),
        ({"cutoff": "2026-01-05", "inputs": [{"target": [1, 2, 3, 4, 5]}]}, "/cutoff"),
        ({"snapshots": True, "inputs": [{"target": [1, 2, 3, 4, 5]}]}, "/snapshots"),
        ({"snapshots": {"first": 2020.5}}, "/snapshots/first"),
        ({"snapshots": {"yearly": "yes"}}, "/snapshots/yearly"),
        ({"snapshots": {"monthly": True}}, "/snapshots/monthly"),
        ({"snapshots": {"first": 2020, "last": 2019}}, "/snapshots/first"),
        ({"snapshots": {"bootstrap_years": 0}}, "/snapshots/bootstrap_years"),
        ({"validation": {"share": 0.9}}, "/validation/share"),
        ({"validation": {"horizons": 5}}, "/validation/horizons"),
        ({"validation_horizons": 5}, "/validation_horizons"),
        ({"validation": {}, "validation_share": 0.2}, "/validation_share"),
        ({"promote": "sometimes"}, "/promote"),
        ({"accept_license": "yes"}, "/accept_license"),
        ({"unheard_of": 1}, "/unheard_of"),
    ],
)
def test_what_is_wrong_is_named(desk, fields, pointer):
    with pytest.raises(InvalidRequest) as refused:
        desk.train(**fields)
    assert pointer_of(refused) == pointer


def test_it_starts_from_its_own_weights_unless_from_scratch_or_from_others(desk):
    assert desk.train().plan.source == "hf:org/name"
    assert desk.train(source="store:current").plan.source == "store:current"
    assert desk.train(mode="from_scratch").plan.source is None
    own = MODEL_REGISTRY["lstm"]
    assert desk.train(spec=own, inputs=[{"target": list(range(99))}]).plan.source is None
    with pytest.raises(InvalidRequest, match="store:current") as refused:
        desk.train(spec=own, mode="fine_tune")
    assert pointer_of(refused) == "/source"


def test_what_the_family_cannot_do_is_refused(desk):
    with pytest.raises(NotTrainable):
        desk.train(spec=replace(SPEC, capabilities=Capabilities()))
    tuned_only = replace(SPEC, capabilities=Capabilities(fine_tunable=True))
    with pytest.raises(NotTrainable):
        desk.train(spec=tuned_only, mode="from_scratch")
    for field, asked in (("lora", True), ("distributed", {"processes": 2})):
        with pytest.raises(InvalidRequest) as refused:
            desk.train(spec=replace(tuned_only, distributed=False), **{field: asked})
        assert pointer_of(refused) == f"/{field}"
    plain = MODEL_REGISTRY["statistical"]
    with pytest.raises(InvalidRequest) as refused:
        desk.train(spec=plain, config={"base_url": "http://127.0.0.1:1"})
    assert pointer_of(refused) == "/config/base_url"
    with pytest.raises(InvalidRequest) as refused:
        desk.train(spec=MODEL_REGISTRY["timegpt"], config={"base_url": "http://127.0.0.1:1"})
    assert "operator" in refused.value.detail


def test_a_license_is_accepted_by_the_caller_or_the_operator_where_weights_are_used(desk):
    with pytest.raises(LicenseNotAccepted, match="CC-BY-NC"):
        desk.train(spec=CLOSED)
    assert desk.train(spec=CLOSED, accept_license=True).plan.accept_license
    assert desk.train(spec=CLOSED, mode="from_scratch").plan.source is None
    for accepted in (("lstm",), ("all",)):
        reader = replace(desk.reader, accepted_licenses=accepted)
        sent = body({"inputs": [INPUT], "config": CONFIG})
        assert reader.read_training(sent, CLOSED).plan.source == "hf:org/name"


# Past years


def test_snapshots_are_asked_by_a_word_or_in_full(desk):
    asked = {"inputs": [WEEKLY], "mode": "from_scratch"}
    assert desk.train(**asked).plan.snapshots is None
    assert desk.train(**asked, snapshots=False).plan.snapshots is None
    assert desk.train(**asked, snapshots={"yearly": False}).plan.snapshots is None
    assert desk.train(**asked, snapshots=True).plan.snapshots == Snapshots()
    full = {"first": 2018, "last": 2020, "skip": [2019], "overwrite": True, "bootstrap_years": 2}
    asked_in_full = desk.train(**asked, snapshots=full, cutoff="2021-06-30", promote="if_better")
    plan = asked_in_full.plan
    assert plan.snapshots == Snapshots.model_validate(full)
    assert (plan.cutoff, plan.promote) == (date(2021, 6, 30), "if_better")
    assert asked_in_full.job.warnings == ()
    assert asked_in_full.series[0].length == 312  # whole: nothing is cut here
    assert desk.train(**asked, snapshots=full, skip_snapshots=True).plan.snapshots is None


def test_the_data_must_be_enough_at_the_earliest_cutoff(desk):
    asked = {"inputs": [WEEKLY], "mode": "from_scratch"}
    desk.train(**asked, config={"horizon": 40}, snapshots={"bootstrap_years": 1})
    with pytest.raises(InvalidRequest, match="2016-12-31") as refused:
        desk.train(**asked, config={"horizon": 60}, snapshots={"bootstrap_years": 1})
    assert pointer_of(refused) == "/snapshots/bootstrap_years"
    with pytest.raises(InvalidRequest) as refused:
        desk.train(**asked, config={"horizon": 60}, snapshots={"first": 2016})
    assert pointer_of(refused) == "/snapshots/first"


def test_a_series_that_begins_late_keeps_nobody_from_an_early_snapshot(desk):
    late = WEEKLY | {"item_id": "late", "target": list(range(52)), "start": "2021-01-01"}
    asked = {"inputs": [WEEKLY, late], "mode": "from_scratch", "validation": {"horizons": 2}}
    assert desk.train(**asked, snapshots={"bootstrap_years": 1}).plan.snapshots is not None


def test_too_many_years_are_refused_and_none_at_all_is_said(desk):
    ages = {"target": list(range(400)), "start": "1700-01-01", "freq": "YS"}
    with pytest.raises(InvalidRequest, match="at most 200") as refused:
        desk.train(inputs=[ages], mode="from_scratch", snapshots=True)
    assert pointer_of(refused) == "/snapshots"
    short = desk.train(mode="from_scratch", snapshots=True)
    assert "no past year" in short.job.warnings[-1]


def test_weights_that_may_have_seen_the_future_are_refused_or_warned_of(desk):
    for dated in ({"snapshots": True}, {"cutoff": "2018-12-31"}):
        with pytest.raises(LooksAhead, match="comes from hf:org/name.*send strict: false") as told:
            desk.train(inputs=[WEEKLY], **dated)
        assert pointer_of(told) == "/source"
        warned = desk.train(inputs=[WEEKLY], strict=False, **dated)
        assert "may have seen" in warned.job.warnings[-1]
        assert not warned.plan.strict
    assert not desk.train(inputs=[WEEKLY]).job.warnings
