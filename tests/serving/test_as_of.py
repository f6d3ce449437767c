"""Forecasts "as of" a day, through the application: real weights in a real store."""

import io
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from forecast.core.frequency import Frequency
from forecast.core.lookahead import Provenance, Root
from forecast.core.types import ForecastTask, Series
from forecast.models import MODEL_REGISTRY
from tests.api.serving import client_of
from tests.serving.stored import YEARS, filled, host_of, publish, store_in

CONFIG = {"backend": "cpu"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("as-of")


@pytest.fixture(scope="module")
def store(place):
    return filled(place)


@pytest.fixture(scope="module")
def client(store, place):
    hosts = {"lstm": host_of(store, place), "statistical": host_of(store, place, "statistical")}
    with client_of(hosts) as made:
        initialize(made)
        yield made


def initialize(client, **body):
    answer = client.post("/forecast/v1/lstm/initialization", json=CONFIG | body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def sent(days=400, *, start="2018-01-01", **parameters):
    wave = [round(10 * np.sin(day / 9), 3) for day in range(days)]
    series = {"item_id": "a", "target": wave, "start": start, "freq": "D"}
    return {"inputs": [series], "parameters": {"horizon": 3} | parameters}


def ask(client, model_id="lstm", **request):
    return client.post(f"/forecast/v1/{model_id}/inference", json=sent(**request))


def answered(client, **request):
    answer = ask(client, **request)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client, **request):
    answer = ask(client, **request)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["code"] == "looks_ahead"
    return problem


def expected(store, name, *, days=400):
    """Forecast with a version in this process, past every queue."""
    version = store.model("lstm").get(name)
    model = MODEL_REGISTRY["lstm"].model_class().load_model(version.path, device="cpu")
    target = np.array(sent(days)["inputs"][0]["target"])[None, :]
    return model.predict([Series(target)], ForecastTask(horizon=3))[0].mean[0]


@pytest.mark.parametrize("year", YEARS)
def test_the_newest_version_that_had_seen_nothing_later_answers(client, store, year):
    name = f"snapshot_{year}-12-31"
    found = answered(client, as_of=f"{year + 1}-03-01", strict=True)
    snapshot = store.model("lstm").get(name)
    assert found["model"] == {
        "id": "lstm",
        "version": name,
        "source": f"store:{name}",
        "cutoff": f"{year}-12-31",
        "sha256": snapshot.sha256,
    }
    assert found["warnings"] == []
    np.testing.assert_allclose(found["predictions"][0]["mean"], expected(store, name), rtol=1e-5)


def test_the_boundary_is_the_end_of_the_day(client):
    assert answered(client, as_of="2020-12-31")["model"]["cutoff"] == "2020-12-31"
    assert answered(client, as_of="2020-12-31T23:59:58")["model"]["cutoff"] == "2019-12-31"
    assert answered(client, as_of="2021-01-01T00:00:00Z")["model"]["cutoff"] == "2020-12-31"


def test_without_a_wish_the_current_version_answers_and_says_its_cutoff(client, store):
    found = answered(client)
    assert (found["model"]["version"], found["model"]["cutoff"]) == ("v1.0", "2022-06-30")
    np.testing.assert_allclose(found["predictions"][0]["mean"], expected(store, "v1.0"), rtol=1e-5)
    assert client.get("/forecast/v1/lstm/status").json()["version"] == "v1.0"
    assert answered(client, as_of="2022-06-30", strict=True)["model"]["version"] == "v1.0"


def test_each_request_gets_the_steps_it_asks_for(client):
    """However many the model makes at once."""
    for horizon in (1, 2, 30):
        (prediction,) = answered(client, horizon=horizon)["predictions"]
        assert {len(prediction["mean"]), len(prediction["timestamps"])} == {horizon}
        assert {len(values) for values in prediction["quantiles"].values()} == {horizon}


def test_what_comes_later_is_dropped_before_the_model_sees_it(client, store):
    """Two histories that differ after the day only have one forecast."""
    long, short = (
        answered(client, days=days, start="2020-06-01", as_of="2020-12-31") for days in (400, 214)
    )
    assert long["predictions"] == short["predictions"]
    assert long["predictions"][0]["timestamps"][0] == "2021-01-01"
    assert long["warnings"] == ["dropped 186 steps after 2020-12-31 of 'a'"]
    assert short["warnings"] == []
    wanted = expected(store, "snapshot_2020-12-31", days=214)
    np.testing.assert_allclose(short["predictions"][0]["mean"], wanted, rtol=1e-5)


def test_a_named_version_that_has_seen_the_future_is_refused_or_warned_of(client):
    wish = {"as_of": "2020-06-30", "version": "snapshot_2021-12-31"}
    problem = refused(client, **wish)
    assert "2021-12-31, after 2020-06-30" in problem["detail"]
    assert problem["errors"][0]["pointer"] == "/parameters/version"
    found = answered(client, **wish, strict=False)
    assert found["model"]["version"] == "snapshot_2021-12-31"
    assert "has seen data until 2021-12-31, after 2020-06-30" in found["warnings"][0]


def test_a_day_before_every_version_is_refused_or_answered_with_a_warning(client):
    wish = {"start": "2017-01-01", "as_of": "2018-06-30"}
    problem = refused(client, **wish, days=300)
    assert "v1.0 has seen data until 2022-06-30, after 2018-06-30" in problem["detail"]
    assert "train a snapshot with a cutoff at or before 2018-06-30" in problem["detail"]
    found = answered(client, **wish, days=300, strict=False)
    assert found["model"]["version"] == "v1.0"
    assert "after 2018-06-30" in found["warnings"][0]


@pytest.mark.parametrize("name", ["snapshot_2019-12-31", "2019-12-31", "first"])
def test_a_version_answers_by_any_of_its_names(client, store, name):
    store.model("lstm").aliases.set("first", "snapshot_2019-12-31", who="a test")
    assert answered(client, version=name)["model"]["version"] == "snapshot_2019-12-31"


def test_a_version_that_is_not_there_is_a_404_that_lists_those_there_are(client):
    answer = ask(client, version="v9.9")
    assert (answer.status_code, answer.json()["code"]) == (404, "version_not_found")
    assert "snapshot_2020-12-31" in answer.json()["detail"]


def test_a_damaged_version_is_refused_and_the_next_older_one_answers(tmp_path):
    store = filled(tmp_path)
    shelf = store.model("lstm")
    weights = shelf.get("snapshot_2020-12-31").path / "weights" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with client_of({"lstm": host_of(store, tmp_path)}) as client:
        initialize(client)
        answer = ask(client, version="snapshot_2020-12-31")
        assert (answer.status_code, answer.json()["code"]) == (409, "version_damaged")
        assert "weights/model.safetensors" in answer.json()["detail"]
        assert str(tmp_path) not in answer.text
        found = answered(client, as_of="2021-06-30", strict=True)
    assert found["model"]["version"] == "snapshot_2019-12-31"


def test_every_shape_takes_it_and_tables_carry_the_facts_in_headers(client, store, place):
    days = np.datetime64("2020-06-01") + np.arange(300)
    data = {"day": days.astype(str).tolist(), "sales": [float(day) for day in range(300)]}
    schema = {"timestamp": "day", "target": "sales"}
    body = {
        "data": data,
        "schema": schema,
        "parameters": {"horizon": 3, "as_of": "2020-12-31"},
    }
    url = "/forecast/v1/lstm/inference"
    arrow = "application/vnd.apache.arrow.stream"
    answer = client.post(url, json=body, headers={"Accept": arrow})
    table = pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()
    assert str(table["timestamp"][0]) == "2021-01-01 00:00:00"
    assert answer.headers["X-Forecast-Version"] == "snapshot_2020-12-31"
    assert answer.headers["X-Forecast-Cutoff"] == "2020-12-31"
    sha256 = store.model("lstm").get("snapshot_2020-12-31").sha256
    assert answer.headers["X-Forecast-SHA256"] == sha256

    csv = "date,sales\n" + "".join(f"{day},{step}\n" for step, day in enumerate(days))
    (place / "sales.csv").write_text(csv)
    body = {
        "data_source_url_or_path": "local://data/sales.csv",
        "data_definition": {"sales": "target"},
        "parameters": {"horizon_len": 3, "as_of": "2020-12-31", "strict": True},
    }
    named = client.post(url, json=body).json()
    assert named["execution_metadata"]["model_version"] == "snapshot_2020-12-31"
    assert named["visualization_data"]["dates_future"][0] == "2021-01-01T00:00:00"
    assert named["visualization_data"]["actual_future"] == [214, 215, 216]


def test_a_model_that_is_fitted_to_each_request_has_nothing_to_refuse(client):
    found = answered(client, model_id="statistical", as_of="2018-06-30", days=100, strict=True)
    assert found["model"]["cutoff"] is None
    assert found["warnings"] == []
    answer = ask(client, model_id="statistical", version="v1")
    assert answer.status_code == 422
    assert "has no versions" in answer.json()["detail"]


def test_weights_of_unknown_age_are_refused_or_warned_of(tmp_path):
    model = MODEL_REGISTRY["lstm"].model_class().tiny()
    model.save_model(tmp_path / "plain")
    with client_of({"lstm": host_of(store_in(tmp_path), tmp_path)}) as client:
        initialize(client, source="local:plain")
        problem = refused(client, as_of="2020-06-30")
        assert "the loaded model comes from local:plain, which may have seen" in problem["detail"]
        found = answered(client, as_of="2020-06-30", strict=False)
    assert "what came after 2020-06-30" in found["warnings"][0]
    assert found["model"]["cutoff"] is None


def test_the_record_of_a_training_tells_the_cutoff_of_weights_outside_the_store(tmp_path):
    config = MODEL_REGISTRY["lstm"].config(
        device="cpu", context_length=8, horizon=3, segment_length=1, hidden_dim=2, max_epochs=1
    )
    target = np.sin(np.arange(60.0))[None, :]
    start, freq = np.datetime64("2020-01-01T00:00:00"), Frequency.parse("D")
    model = MODEL_REGISTRY["lstm"].model_class()(config)
    model.fit([Series(target, start=start, freq=freq)]).save_model(tmp_path / "trained")
    with client_of({"lstm": host_of(store_in(tmp_path), tmp_path)}) as client:
        initialize(client, source="local:trained")
        found = answered(client, as_of="2020-02-29", strict=True)
        problem = refused(client, as_of="2020-02-28", strict=True)
    assert found["model"]["cutoff"] == "2020-02-29"
    assert "until 2020-02-29, after 2020-02-28" in problem["detail"]


def test_weights_outside_the_store_that_were_tuned_from_others_say_so(tmp_path):
    chosen = {"device": "cpu", "context_length": 8, "horizon": 3, "hidden_dim": 2, "max_epochs": 1}
    lstm = MODEL_REGISTRY["lstm"].model_class()
    days = {"start": np.datetime64("2020-01-01T00:00:00"), "freq": Frequency.parse("D")}
    data = [Series(np.sin(np.arange(60.0))[None, :], **days)]
    lstm(MODEL_REGISTRY["lstm"].config(**chosen)).fit(data).save_model(tmp_path / "base")
    tuned = lstm.load_model(tmp_path / "base", training_mode="fine_tune").fit(data)
    tuned.save_model(tmp_path / "tuned")
    with client_of({"lstm": host_of(None, tmp_path)}) as client:
        initialize(client, source="local:tuned")
        assert "comes from other weights" in refused(client, as_of="2020-03-31")["detail"]
        found = answered(client, as_of="2020-03-31", strict=False)
        assert found["warnings"] == [
            "the loaded model comes from other weights, which may have seen what came after"
            " 2020-03-31"
        ]
        initialize(client, source="local:base")
        assert answered(client, as_of="2020-03-31", strict=True)["warnings"] == []


def test_foreign_weights_are_judged_by_their_facts_through_all_generations(tmp_path):
    """Of unknown data from their publication on, of dated data by its end, of synthetic always."""
    store = store_in(tmp_path)
    shelf = store.model("lstm")
    cutoff = datetime(2020, 12, 31, 23, 59, 59, tzinfo=UTC)
    facts = {
        "unknown": {},
        "published": {"published_at": datetime(2021, 3, 1, tzinfo=UTC)},
        "dated": {"training_data": "dated", "cutoff": datetime(2021, 4, 1, tzinfo=UTC)},
        "synthetic": {"training_data": "synthetic"},
    }
    for number, (source, told) in enumerate(facts.items()):
        root = Root(source=f"hf:some/{source}", **told)
        seen = Provenance(seen_until=cutoff, roots=(root,))
        publish(shelf, 1.0, version=f"v{number}.0", cutoff=cutoff, provenance=seen)
    shelf.aliases.set("current", "v0.0", who="a test")
    first_allowed = {0: None, 1: "2021-03-01", 2: "2021-04-01", 3: "2020-12-31"}
    with client_of({"lstm": host_of(store, tmp_path)}) as client:
        initialize(client)
        for number, source in enumerate(facts):
            for day in ("2020-12-31", "2021-02-28", "2021-03-01", "2021-04-01"):
                wish = {"start": "2020-06-01", "as_of": day, "version": f"v{number}.0"}
                least = first_allowed[number]
                if least is not None and day >= least:
                    assert not any("hf:" in said for said in answered(client, **wish)["warnings"])
                    continue
                assert f"comes from hf:some/{source}" in refused(client, **wish)["detail"]
                found = answered(client, **wish, strict=False)
                assert any(f"comes from hf:some/{source}" in said for said in found["warnings"])
        found = answered(client, as_of="2020-12-31", start="2020-06-01")
        assert found["model"]["version"] == "v3.0"  # the newest that may
