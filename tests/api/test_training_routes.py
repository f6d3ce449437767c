"""What starts a job over HTTP: a plan and whole series in a folder, queued once a key."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import httpx2
import numpy as np
import pytest

from forecast.api.app import create_app
from forecast.api.examples import BACKTESTS, SHORT_TRAININGS, TRAININGS
from forecast.api.options import ApiOptions
from forecast.jobs.plans import read_plan, read_plan_series
from forecast.jobs.records import JobKind
from forecast.models import MODEL_REGISTRY
from forecast.training.data import JobData, default_data
from forecast.training.plan import BacktestPlan, TrainingPlan
from tests.api.serving import OPTIONS, caller, replying, running, spec_of, status_answer
from tests.api.training_parts import training_in
from tests.training.request_helpers import CSV, FORM, TABLE, form

TRAINING, BACKTEST = "/forecast/v1/lstm/training", "/forecast/v1/lstm/backtest"
JOBS = "/forecast/v1/jobs"
SERIES = {"target": list(range(60)), "start": "2020-01-05", "freq": "W-SUN"}
CONFIG = {"horizon": 3, "context_length": 8}
BODY = {"inputs": [SERIES], "config": CONFIG}


@contextmanager
def gateway(folder: Path, default: JobData | None = None, **options: object):
    """Serve an LSTM, and a model that learns nothing; no worker takes the jobs up."""
    hosts = {name: replying(name, status_answer("ready")) for name in ("lstm", "toy")}
    hosts["lstm"].spec, hosts["toy"].spec = MODEL_REGISTRY["lstm"], spec_of("toy")
    training = training_in(folder, **options)
    training = replace(training, reader=replace(training.reader, default_data=default))
    app = create_app(hosts, ApiOptions(**OPTIONS), training=training)
    with running(app) as url, caller(url) as client:
        yield client


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    days = [date(2026, 1, 1) + timedelta(days=day) for day in range(60)]
    (home / "data").mkdir()
    for name, header, row in (
        ("sales.csv", "date,sales", "{0},{1}"),
        ("stores.csv", "date,store,sales", "{0},a,{1}"),
    ):
        lines = [row.format(day, number) for number, day in enumerate(days)]
        (home / "data" / name).write_text("\n".join([header, *lines, ""]))
    return home


@pytest.fixture(scope="module")
def client(home):
    with gateway(home, default_data("sales"), training_queue=100) as client:
        schema = {"timestamp": "date", "item_id": "store", "target": "sales"}
        files = {"file": ("stores.csv", (home / "data" / "stores.csv").read_bytes())}
        put = client.put(
            "/forecast/v1/datasets/sales", files=files, data={"schema": json.dumps(schema)}
        )
        assert put.status_code == 201, put.text
        yield client


def folder_of(home: Path, answer) -> Path:
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert job["state"] == "pending"
    assert answer.headers["Location"] == f"{JOBS}/{job['id']}"
    return home / "jobs" / job["id"]


def training_plan(folder: Path) -> TrainingPlan:
    return TrainingPlan.model_validate(read_plan(folder).work)


def test_a_training_becomes_a_plan_and_whole_series(client, home):
    asked = BODY | {"validation": {"horizons": 1}, "cutoff": "2020-12-31", "promote": "never"}
    folder = folder_of(home, client.post(TRAINING, json=asked))
    plan = training_plan(folder)
    assert (plan.config, plan.promote) == (CONFIG, "never")
    assert read_plan(folder).model_id == "lstm"
    (series,) = read_plan_series(folder)
    np.testing.assert_array_equal(series.target, [range(60)])


def test_a_backtest_becomes_a_plan_and_whole_series(client, home):
    asked = {"inputs": [SERIES], "horizon": 4, "windows": 3, "step": 2, "version": "champion"}
    answer = client.post(BACKTEST, json=asked)
    job = read_plan(folder_of(home, answer))
    plan = BacktestPlan.model_validate(job.work)
    assert answer.json()["kind"] == "backtest"
    assert (plan.horizon, plan.windows, plan.source) == (4, 3, "store:champion")


def test_the_query_leaves_the_past_years_out(client, home):
    asked = BODY | {"snapshots": {"bootstrap_years": 1}}
    with_years = training_plan(folder_of(home, client.post(TRAINING, json=asked)))
    assert with_years.snapshots.bootstrap_years == 1
    without = client.post(TRAINING, json=asked, params={"skip_snapshot": "true"})
    assert training_plan(folder_of(home, without)).snapshots is None
    assert client.post(TRAINING, json=asked, params={"skip_snapshot": "2"}).status_code == 422


@pytest.mark.parametrize("name", TRAININGS)
def test_every_training_shown_is_accepted(client, home, name):
    folder_of(home, client.post(TRAINING, json=TRAININGS[name]["value"]))


@pytest.mark.parametrize("name", BACKTESTS)
def test_every_backtest_shown_is_accepted(client, home, name):
    folder_of(home, client.post(BACKTEST, json=BACKTESTS[name]["value"]))


@pytest.mark.parametrize("name", SHORT_TRAININGS)
def test_every_short_training_shown_is_accepted(client, home, name):
    plan = training_plan(
        folder_of(home, client.post("/train/lstm", json=SHORT_TRAININGS[name]["value"]))
    )
    assert plan.data_reference.startswith("dataset:sales@")
    assert (plan.snapshots is None) == (name == "current")


def test_a_short_training_needs_no_body(client, home):
    plan = training_plan(folder_of(home, client.post("/train/lstm?skip_snapshot=true")))
    assert plan.snapshots is None


def test_what_is_not_there_or_learns_nothing_is_refused(client):
    assert client.post("/train/toy").json()["code"] == "not_trainable"
    assert client.post("/train/nothing").json()["code"] == "unknown_model"
    assert client.post("/forecast/v1/toy/training", json=BODY).json()["code"] == "not_trainable"
    lost = client.post(TRAINING, json={"dataset": "lost", "config": CONFIG})
    assert (lost.status_code, lost.json()["code"]) == (404, "not_found")


def test_an_upload_is_learned_from_and_kept_where_asked(client, home):
    content = form(schema=TABLE["schema"], parameters={"config": CONFIG}, dataset="shops")
    answer = client.post(TRAINING, content=content, headers={"Content-Type": FORM})
    assert len(read_plan_series(folder_of(home, answer))) == 2
    kept = client.get("/forecast/v1/datasets/shops").json()
    assert (kept["rows"], kept["source_name"]) == (20, "sales.csv")
    again = client.post(TRAINING, json={"dataset": "shops", "config": CONFIG})
    assert len(read_plan_series(folder_of(home, again))) == 2
    unnamed = form(schema=TABLE["schema"], parameters={"horizon": 2, "windows": 1})
    answer = client.post(BACKTEST, content=unnamed, headers={"Content-Type": FORM})
    assert read_plan(folder_of(home, answer)).kind is JobKind.BACKTEST


@pytest.mark.parametrize(
    ("parts", "status", "pointer"),
    [
        ({}, 422, "/schema"),
        ({"schema": TABLE["schema"], "parameters": []}, 422, "/parameters"),
        ({"schema": TABLE["schema"], "parameters": {"horizon": 1}}, 422, "/parameters/horizon"),
        ({"schema": TABLE["schema"], "parameters": {"lora": True}}, 422, "/parameters/lora"),
        ({"schema": {"target": "profit"}, "parameters": {"config": CONFIG}}, 422, "/schema/target"),
        ({"schema": TABLE["schema"], "parameters": "{"}, 400, None),
        ({"schema": TABLE["schema"], "dataset": "../x"}, 422, "/dataset"),
        ({"schema": TABLE["schema"], "more": "x"}, 422, "/more"),
        ({"schema": TABLE["schema"], "file2": CSV}, 422, "/file2"),
    ],
)
def test_a_wrong_upload_is_refused_with_the_part(client, parts, status, pointer):
    before = client.get(JOBS).json()["count"]
    answer = client.post(TRAINING, content=form(**parts), headers={"Content-Type": FORM})
    assert answer.status_code == status, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == ([pointer] if pointer else [])
    assert client.get(JOBS).json()["count"] == before


def test_one_key_starts_one_job(client):
    headers = {"Idempotency-Key": "once"}
    first = client.post(TRAINING, json=BODY, headers=headers).json()
    assert client.post(TRAINING, json=BODY, headers=headers).json()["id"] == first["id"]
    for changed in (
        client.post(TRAINING, json=BODY | {"promote": "never"}, headers=headers),
        client.post(TRAINING, json=BODY, headers=headers, params={"skip_snapshot": "true"}),
        client.post("/train/lstm", headers=headers),
    ):
        assert (changed.status_code, changed.json()["code"]) == (422, "invalid_request")
    other = client.post(TRAINING, json=BODY, headers={"Idempotency-Key": "twice"}).json()
    assert other["id"] != first["id"]
    assert client.post(TRAINING, json=BODY, headers={"Idempotency-Key": ""}).status_code == 422
    assert (
        client.post(TRAINING, json=BODY, headers={"Idempotency-Key": "a" * 256}).status_code == 422
    )


def test_a_repeated_form_is_the_same_request_whatever_its_boundary_is(client):
    headers = {"Idempotency-Key": "a form"}
    parts = {"schema": json.dumps(TABLE["schema"]), "parameters": json.dumps({"config": CONFIG})}
    drawn, jobs = set(), set()
    for _ in range(2):
        sent = client.post(
            TRAINING, data=parts, files={"file": ("sales.csv", CSV)}, headers=headers
        )
        drawn.add(sent.request.headers["Content-Type"])
        jobs.add(sent.json()["id"])
    assert (len(drawn), len(jobs)) == (2, 1)


def test_a_repeated_request_finds_its_job_though_its_data_is_gone(client):
    kept = form(schema=TABLE["schema"])
    client.put("/forecast/v1/datasets/brief", content=kept, headers={"Content-Type": FORM})
    asked, headers = {"dataset": "brief", "config": CONFIG}, {"Idempotency-Key": "brief"}
    first = client.post(TRAINING, json=asked, headers=headers).json()
    assert client.delete("/forecast/v1/datasets/brief").status_code < 300
    again = client.post(TRAINING, json=asked, headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, first["id"])


def test_a_bad_request_starts_nothing(client):
    before = client.get(JOBS).json()["count"]
    refused = client.post(TRAINING, json=BODY | {"lora": True})
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/lora"]
    assert client.post(TRAINING, content=b"{").status_code == 400
    csv = client.post(TRAINING, content=b"a,b\n1,2\n", headers={"Content-Type": "text/csv"})
    assert csv.json()["code"] == "unsupported_format"
    assert client.get(JOBS).json()["count"] == before


def test_a_full_queue_says_when_to_come_again(tmp_path):
    with gateway(tmp_path, training_queue=1) as client:
        answers = [client.post(TRAINING, json=BODY) for _ in range(4)]
    assert answers[0].status_code == 202
    assert answers[-1].json()["code"] == "queue_full"
    assert int(answers[-1].headers["Retry-After"]) > 0


def upload(client, file: str, name: str = "shops", **headers: str):
    """Train on a file that is to be kept under a name."""
    body = form(file, schema=TABLE["schema"], parameters={"config": CONFIG}, dataset=name)
    return client.post(TRAINING, content=body, headers={"Content-Type": FORM} | headers)


def shops(client):
    return client.get("/forecast/v1/datasets/shops").json()


def test_a_request_that_starts_no_job_leaves_the_dataset_of_its_name_alone(tmp_path):
    half = CSV[: len(CSV) // 2].rpartition("\n")[0] + "\n"
    key = {"Idempotency-Key": "first"}
    with gateway(tmp_path, training_jobs=1, training_queue=1) as client:
        first = upload(client, CSV, **key)
        kept = shops(client)
        assert (first.status_code, kept["rows"]) == (202, 20)
        other = form(half, schema=TABLE["schema"])
        client.put("/forecast/v1/datasets/shops", content=other, headers={"Content-Type": FORM})
        replaced = shops(client)
        assert replaced["rows"] < 20
        repeated = upload(client, CSV, **key)
        assert repeated.json()["id"] == first.json()["id"]
        assert upload(client, half, **key).status_code == 422
        bad = form(CSV, schema=TABLE["schema"], parameters={"lora": True}, dataset="shops")
        refused = client.post(TRAINING, content=bad, headers={"Content-Type": FORM})
        assert refused.status_code == 422
        assert client.post(TRAINING, json=BODY).status_code == 202
        full = upload(client, CSV)
        assert (full.status_code, full.json()["code"]) == (429, "queue_full")
        assert shops(client) == replaced


def test_a_request_whose_dataset_has_no_room_starts_no_job(tmp_path):
    with gateway(tmp_path, max_datasets=1) as client:
        assert upload(client, CSV, "one").status_code == 202
        refused = upload(client, CSV, "two")
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        assert client.get(JOBS).json()["count"] == 1
        assert client.get("/forecast/v1/datasets").json()["count"] == 1


def test_of_equal_requests_at_once_one_starts_a_job_and_replaces_the_dataset(tmp_path):
    with gateway(tmp_path) as client, ThreadPoolExecutor(4) as threads:
        key = {"Idempotency-Key": "at once"}
        asked = [threads.submit(upload, client, CSV, **key) for _ in range(4)]
        ids = {one.result().json()["id"] for one in asked}
        assert len(ids) == 1
        assert client.get(JOBS).json()["count"] == 1
        kept = {path.name for path in (tmp_path / "datasets").iterdir()}
        assert kept == {".lock", "shops"}


def test_without_default_data_a_short_training_says_how_to_set_them(tmp_path):
    with gateway(tmp_path) as client:
        refused = client.post("/train/lstm")
    assert refused.status_code == 422
    assert "FORECAST_DEFAULT_DATASET" in refused.json()["detail"]


def test_each_route_needs_a_key(client):
    for path in (TRAINING, BACKTEST, "/train/lstm"):
        bare = httpx2.post(f"{str(client.base_url).rstrip('/')}{path}", json=BODY, timeout=60)
        assert bare.status_code == 401
