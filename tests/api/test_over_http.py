"""Each flow against the real application: real models, a real port, real files."""

import io

import pandas as pd
import pyarrow as pa
import pytest

from forecast.api import examples
from forecast.settings import Settings
from forecast.wiring.gateway import gateway_app
from tests.api.serving import KEY, caller, running

MODEL = "/forecast/v1/statistical"
INFERENCE = f"{MODEL}/inference"
DAYS = pd.date_range("2026-01-01", periods=40, freq="D")
FRAME = pd.DataFrame(
    {"date": DAYS.strftime("%Y-%m-%d"), "sales": [100.0 + (day % 7) * 5 for day in range(40)]}
)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    (home / "data").mkdir()
    FRAME.to_csv(home / "data" / "sales.csv", index=False)
    (home / "secret.csv").write_text("date,sales\n2026-01-01,1\n")
    served = ("statistical", "chronos")
    settings = Settings(home=home, api_key=KEY, inline=("all",), models=served, workers=0)
    with (
        running(gateway_app(settings, {})) as url,
        caller(url) as made,
    ):
        yield made


def native(**changes):
    return examples.NATIVE | changes


@pytest.mark.parametrize("name", examples.FORECASTS)
def test_every_example_of_the_document_is_answered(client, name):
    response = client.post(INFERENCE, json=examples.FORECASTS[name]["value"])
    assert response.status_code == 200, response.text


def test_the_example_across_models_falls_back_to_the_one_that_is_ready(client):
    body = examples.routed(["statistical", "chronos"])["fallback"]["value"]
    assert body["model"] == "chronos"
    response = client.post("/forecast/v1/forecast", json=body)
    assert response.status_code == 200, response.text
    assert response.json()["model"]["id"] == "statistical"
    assert response.headers["x-forecast-skipped"] == "chronos;model_not_ready"
    assert response.json()["warnings"]


@pytest.mark.parametrize("name", examples.INITIALIZATIONS)
def test_a_model_is_initialized_as_the_examples_show(client, name):
    body = examples.INITIALIZATIONS[name]["value"]
    response = client.post(f"{MODEL}/initialization", json=body)
    assert response.status_code == (200 if body.get("wait", True) else 202), response.text
    assert set(response.json()) >= {"message", "model_status", "model_info"}
    # The answer to a forecast waits for the load, so the next test does not meet one.
    assert client.post(INFERENCE, json=examples.NATIVE).status_code == 200


def test_the_life_of_a_model(client):
    assert client.post(f"{MODEL}/initialization").status_code == 200
    status = client.get(f"{MODEL}/status").json()
    assert set(status) == {
        "model_status",
        "details",
        "source",
        "version",
        "device",
        "loaded_at",
    }
    assert (status["model_status"], status["device"]) == ("ready", "cpu")
    ended = client.post(f"{MODEL}/shutdown")
    assert (ended.status_code, ended.json()["model_status"]) == (200, "uninitialized")
    refused = client.post(INFERENCE, json=examples.NATIVE)
    assert (refused.status_code, refused.json()["code"]) == (409, "model_not_ready")
    assert f"POST {MODEL}/initialization" in refused.json()["detail"]
    assert client.post(f"{MODEL}/initialization", json={}).status_code == 200


def uploaded(kind: str) -> tuple[str, bytes, str]:
    buffer = io.BytesIO()
    if kind == "csv":
        FRAME.to_csv(buffer, index=False)
    elif kind == "parquet":
        FRAME.to_parquet(buffer)
    elif kind == "json":
        FRAME.to_json(buffer, orient="records")
    elif kind == "xlsx":
        FRAME.to_excel(buffer, index=False)
    else:
        table = pa.Table.from_pandas(FRAME)
        with pa.ipc.new_file(buffer, table.schema) as writer:
            writer.write_table(table)
    return (f"sales.{kind}", buffer.getvalue(), "application/octet-stream")


@pytest.mark.parametrize("kind", ["csv", "parquet", "json", "xlsx", "arrow"])
def test_an_uploaded_file_is_forecast_as_its_series_would_be(client, kind):
    form = {
        "schema": '{"timestamp": "date", "target": "sales"}',
        "parameters": '{"horizon": 3, "quantile_levels": []}',
    }
    response = client.post(INFERENCE, data=form, files={"file": uploaded(kind)})
    assert response.status_code == 200, response.text
    (prediction,) = response.json()["predictions"]
    inline = {
        "inputs": [{"target": FRAME["sales"].tolist(), "start": "2026-01-01", "freq": "D"}],
        "parameters": {"horizon": 3, "quantile_levels": []},
    }
    (same,) = client.post(INFERENCE, json=inline).json()["predictions"]
    assert prediction["mean"] == same["mean"]
    assert prediction["timestamps"] == ["2026-02-10", "2026-02-11", "2026-02-12"]


def test_an_answer_comes_as_csv_or_arrow_where_it_is_asked_for(client):
    csv = client.post(INFERENCE, json=examples.NATIVE, headers={"Accept": "text/csv"})
    assert csv.headers["content-type"].startswith("text/csv")
    rows = pd.read_csv(io.BytesIO(csv.content))
    stream = "application/vnd.apache.arrow.stream"
    arrow = client.post(INFERENCE, json=examples.NATIVE, headers={"Accept": stream})
    assert arrow.headers["content-type"] == stream
    table = pa.ipc.open_stream(arrow.content).read_all()
    assert len(rows) == table.num_rows == examples.NATIVE["parameters"]["horizon"]


def parameters(**changes):
    return native(parameters=examples.NATIVE["parameters"] | changes)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (native(surprise=1), "/surprise"),
        (parameters(horizon=0), "/parameters/horizon"),
        (parameters(horizon=10**9), "/parameters/horizon"),
        (parameters(quantile_levels=[0.5, 1.5]), "/parameters/quantile_levels/1"),
        (parameters(model_options={"nope": 1}), "/parameters/model_options/nope"),
        (parameters(timeout_s=10**6), "/parameters/timeout_s"),
        ({"inputs": [], "parameters": {"horizon": 1}}, "/inputs"),
        ({"parameters": {"horizon": 1}}, "/inputs"),
    ],
)
def test_a_bad_field_is_a_422_that_points_at_it(client, body, pointer):
    response = client.post(INFERENCE, json=body)
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert pointer in [error["pointer"] for error in response.json()["errors"]]


@pytest.mark.parametrize("body", [b"", b"{", b'{"inputs": [{"target": [NaN]}]}', b"\xff\xfe"])
def test_what_is_not_json_is_a_400(client, body):
    headers = {"Content-Type": "application/json"}
    response = client.post(INFERENCE, content=body, headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "bad_data")


@pytest.mark.parametrize("kind", ["text/html", "application/x-yaml"])
def test_an_unknown_kind_of_body_is_a_415(client, kind):
    response = client.post(INFERENCE, content=b"x", headers={"Content-Type": kind})
    assert response.status_code == 415


def test_json_that_curl_calls_a_form_is_read(client):
    body = b'{"inputs": [{"target": [1, 2, 3]}], "parameters": {"horizon": 1}}'
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post(INFERENCE, content=body, headers=headers).status_code == 200


@pytest.mark.parametrize("field", ["as_of", "version"])
def test_a_snapshot_that_is_not_there_is_refused_rather_than_ignored(client, field):
    parameters = {"horizon": 1, field: "2025-12-31"}
    body = {"inputs": [{"target": [1, 2, 3]}], "parameters": parameters}
    response = client.post(INFERENCE, json=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == f"/parameters/{field}"


def named(source: str) -> dict[str, object]:
    return {**examples.NAMED_FILE, "data_source_url_or_path": source}


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("sales.csv", 200),
        ("local://data/../secret.csv", 403),
        ("../secret.csv", 403),
        ("/etc/secret.csv", 403),
        ("http://127.0.0.1:9/sales.csv", 403),
        ("http://169.254.169.254/latest/meta-data", 403),
        ("nothing.csv", 404),
    ],
)
def test_a_named_file_stays_within_what_is_allowed(client, source, status):
    response = client.post(INFERENCE, json=named(source))
    assert response.status_code == status, response.text
    if status != 200:
        assert response.json()["error"] == response.json()["code"]


def test_weights_that_need_a_source_say_what_is_wrong_with_it(client):
    path = "/forecast/v1/chronos/initialization"
    odd = client.post(path, json={"source": "ftp:x"})
    assert (odd.status_code, odd.json()["errors"][0]["pointer"]) == (422, "/source")
    outside = client.post(path, json={"source": "local:../.."})
    assert outside.status_code == 403
    state = client.get("/forecast/v1/chronos/status").json()
    assert (state["model_status"], "local:" in state["details"]) == ("uninitialized", True)
    assert client.get("/health").json()["status"] == "healthy"
    missing = client.post(path, json={"source": "local:nothing"})
    assert missing.status_code == 404
    assert client.get("/health").json()["status"] == "degraded"
