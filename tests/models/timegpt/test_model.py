"""TimeGPT through its own client, against a service on loopback that speaks its protocol."""

import json
import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from forecast.core.errors import (
    BadModelOutput,
    DeadlinePassed,
    InvalidRequest,
    ModelNotReady,
    QueueFull,
    RemoteUnauthorized,
    RemoteUnavailable,
)
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.models.timegpt.spec import SPEC, TimeGPTConfig
from tests.fakes.timegpt import TUNED_SHIFT

nixtla = pytest.importorskip("nixtla", reason="the client of TimeGPT is not installed")
from forecast.models.timegpt.model import TimeGPTModel  # noqa: E402 -- needs the client

TASK = ForecastTask(horizon=3, quantile_levels=(0.1, 0.5, 0.9))


def week(weeks=6, *, freq="D", seed=0):
    random = np.random.default_rng(seed)
    target = 50 + 10 * np.sin(2 * np.pi * np.arange(7 * weeks) / 7) + random.gamma(2, 2, 7 * weeks)
    return Series(
        target=target[None],
        item_id=f"week {seed}",
        start=np.datetime64("2024-01-01", "s"),
        freq=Frequency.parse(freq),
    )


def test_it_answers_what_the_client_itself_is_told(service, load):
    series = week()
    answer = load().predict([series], TASK)[0]
    client = nixtla.NixtlaClient(api_key=service.key, base_url=service.url)
    table = pd.DataFrame({"unique_id": 0, "ds": series.past_timestamps, "y": series.target[0]})
    golden = client.forecast(table, h=3, freq="D", quantiles=[0.1, 0.5, 0.9])
    np.testing.assert_array_equal(answer.mean[0], golden["TimeGPT"])
    for row, name in enumerate(("q-10", "q-50", "q-90")):
        np.testing.assert_array_equal(answer.quantiles[0, row], golden[f"TimeGPT-{name}"])


def test_each_interval_is_asked_once_and_its_ends_need_not_be_symmetric(service, load):
    task = replace(TASK, quantile_levels=(0.025, 0.1, 0.333, 0.5, 0.9, 0.975))
    answer = load().predict([week()], task)[0]
    assert service.bodies[-1]["level"] == [33.4, 80.0, 95.0]
    below = answer.quantiles[0, 3] - answer.quantiles[0, 1]
    above = answer.quantiles[0, 4] - answer.quantiles[0, 3]
    assert not np.allclose(below, above)


@pytest.mark.parametrize("levels", [(), (0.5,)])
def test_no_interval_is_asked_where_none_is_needed(service, load, levels):
    load().predict([week()], replace(TASK, quantile_levels=levels))
    assert service.bodies[-1]["level"] is None


def test_series_of_several_frequencies_are_asked_apart_and_answered_in_order(service, load):
    batch = [week(seed=1), week(freq="h", seed=2), week(seed=3)]
    batch.append(replace(week(seed=4), start=None, freq=None))
    model = load()
    together = model.predict(batch, TASK)
    assert [body["freq"] for body in service.bodies] == ["D", "h", "MS"]
    for series, forecast in zip(batch, together, strict=True):
        np.testing.assert_array_equal(forecast.mean, model.predict([series], TASK)[0].mean)


def with_covariates():
    series = week()
    promo, heat = np.arange(series.length) % 2.0, np.arange(series.length) % 5.0
    kinds = np.where(np.arange(series.length) % 3 == 0, "sale", "none")
    return replace(
        series,
        target=series.target + 100 * promo + 30 * (kinds == "sale"),
        past_covariates={"y": promo, "heat": heat, "kind": kinds},
        future_covariates={"y": np.ones(3), "kind": np.array(["sale", "none", "none"])},
    )


def test_covariates_go_as_known_ahead_past_only_and_categories(service, load):
    load().predict([with_covariates()], TASK)
    series = service.bodies[-1]["series"]
    assert [len(rows) for rows in (series["X"], series["X_future"])] == [3, 2]
    assert series["categorical_exog"] == [1]
    assert series["X_future"] == [[1.0] * 3, ["sale", "none", "none"]]


def test_what_is_known_ahead_moves_the_forecast(load):
    series = with_covariates()
    off = replace(series, future_covariates=series.future_covariates | {"y": np.zeros(3)})
    model = load()
    moved = model.predict([series], TASK)[0].mean - model.predict([off], TASK)[0].mean
    np.testing.assert_allclose(moved, 100, rtol=0.1)


def test_gaps_lie_on_a_straight_line_and_leading_ones_are_dropped(service, load):
    target = week().target.copy()
    target[0, :2] = np.nan
    target[0, 10] = np.nan
    load().predict([replace(week(), target=target)], TASK)
    sent = service.bodies[-1]["series"]
    assert sent["sizes"] == [40]
    assert sent["start_datetime"] == ["2024-01-03"]
    assert sent["y"][8] == pytest.approx((target[0, 9] + target[0, 11]) / 2, rel=1e-6)


def test_a_large_request_is_compressed_and_answered(service, load):
    batch = [week(weeks=30, seed=seed) for seed in range(32)]
    long = [replace(one, past_covariates={"z": np.random.default_rng(1).random(one.length)})
            for one in batch]  # fmt: skip
    many = [replace(one, target=np.tile(one.target, 40)) for one in long]
    many = [replace(one, past_covariates={"z": np.tile(one.past_covariates["z"], 40)})
            for one in many]  # fmt: skip
    assert len(load().predict(many, TASK)) == 32


# The key


def test_without_a_key_it_says_what_to_set():
    with pytest.raises(ModelNotReady, match="NIXTLA_API_KEY"):
        TimeGPTModel.load_model(None)


def test_a_key_of_the_environment_is_not_read_below_the_settings(monkeypatch):
    monkeypatch.setenv("NIXTLA_API_KEY", "nixak-of-the-environment")
    with pytest.raises(ModelNotReady):
        TimeGPTModel.load_model(None)


def test_a_wrong_key_is_told_when_it_is_loaded(load):
    with pytest.raises(RemoteUnauthorized, match="NIXTLA_API_KEY"):
        load(api_key="nixak-wrong")


def test_the_key_is_nowhere_to_be_read(service, load, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    model = load()
    model.predict([week()], TASK)
    model.save_model(tmp_path / "saved")
    saved = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    seen = f"{model.config!r} {model.model_info} {saved!r} {caplog.text}"
    assert service.key not in seen
    assert service.url not in json.dumps(model.model_info)


def test_no_file_of_weights_names_where_the_key_is_sent(service, load, tmp_path):
    load().save_model(tmp_path / "saved")
    file = tmp_path / "saved" / "config.json"
    document = json.loads(file.read_text())
    document["config"]["base_url"] = "http://127.0.0.1:1"
    file.write_text(json.dumps(document))
    model = load(tmp_path / "saved")
    assert model.config.base_url == service.url
    with pytest.raises(RemoteUnauthorized):
        load(tmp_path / "saved", api_key="nixak-wrong")


def test_the_document_of_the_api_does_not_offer_them():
    assert not {"api_key", "base_url"} & set(TimeGPTConfig.model_json_schema()["properties"])
    assert not SPEC.is_ready_at_once
    assert not SPEC.needs_training


# What goes wrong over there


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, RemoteUnauthorized, "NIXTLA_API_KEY"),
        (403, RemoteUnauthorized, "refuses the key"),
        (422, InvalidRequest, "the horizon is too long"),
        (400, InvalidRequest, "the horizon is too long"),
        (500, RemoteUnavailable, "failed on its side"),
        (503, RemoteUnavailable, "failed on its side"),
        (504, DeadlinePassed, "in time"),
        (429, QueueFull, "no more requests"),
    ],
)
def test_a_refusal_is_told_in_our_words(service, load, status, error, words):
    model = load()
    detail = {"detail": "the horizon is too long"}
    with service.refusing(status, detail), pytest.raises(error, match=words) as told:
        model.predict([week()], TASK)
    assert service.key not in str(told.value)


def test_too_many_requests_say_when_to_come_back(service, load):
    model = load()
    with service.refusing(429, Retry_After="17"), pytest.raises(QueueFull) as told:
        model.predict([week()], TASK)
    assert told.value.retry_after_s == 17


def test_attempts_are_bounded(service, load):
    model = load(max_attempts=2)
    with service.refusing(503), pytest.raises(RemoteUnavailable):
        model.predict([week()], TASK)
    assert service.paths.count("/v2/forecast") == 2


@pytest.mark.parametrize(
    "answer", [b"<html>", {}, {"mean": [1.0, 2.0, 3.0], "intervals": None, "weights_x": None}]
)
def test_an_answer_that_is_none_is_bad_output(service, load, answer):
    model = load()
    with service.refusing(200, answer), pytest.raises((BadModelOutput, RemoteUnavailable)):
        model.predict([week()], TASK)


def test_an_answer_that_does_not_come_is_given_up(service, load):
    model = load(request_timeout_s=1)
    service.answers.clear()
    with pytest.raises(DeadlinePassed, match="in time"):
        model.predict([week()], TASK)
    service.answers.set()


def test_a_service_that_is_gone_is_unavailable(service, load):
    model = load()
    service.stop()
    with pytest.raises(RemoteUnavailable, match="cannot be reached"):
        model.predict([week()], TASK)


# Fine-tuning


def test_it_is_tuned_over_there_and_what_is_saved_names_the_result(service, load, tmp_path):
    model = load(finetune_steps=5, finetune_depth=2)
    before = model.predict([week()], TASK)[0]
    heard = []
    model.fit([week(seed=1), week(seed=2)], on_progress=lambda report: heard.append(report.step))
    tuned = model.predict([week()], TASK)[0]
    np.testing.assert_allclose(tuned.mean - before.mean, TUNED_SHIFT)
    asked = next(body for body in service.bodies if "output_model_id" in body)
    assert (asked["finetune_steps"], asked["finetune_depth"]) == (5, 2)
    assert heard == [0, 5]

    model.save_model(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert again.is_fitted
    np.testing.assert_array_equal(again.predict([week()], TASK)[0].mean, tuned.mean)


def test_a_tuned_model_that_is_gone_is_refused_with_the_reason(load):
    with pytest.raises(InvalidRequest, match="no fine-tuned model gone"):
        load(finetuned_model_id="gone").predict([week()], TASK)


@pytest.mark.parametrize(
    "train", [[with_covariates()], [week(), week(freq="h")]], ids=["covariates", "frequencies"]
)
def test_what_it_cannot_be_tuned_on_is_refused(load, train):
    with pytest.raises(InvalidRequest, match="fine-tuned on"):
        load().fit([replace(one, future_covariates={}) for one in train])
