"""One deadline a request, over real HTTP: whatever takes the time, its caller is told.

A gate stays closed, or a process stopped, until the answer is there: no clock is read.
"""

import json
import math
import os
import signal
import socket
import time
from contextlib import contextmanager

import httpx2
import psutil
import pytest

from forecast.api import examples
from forecast.api.app import create_app
from forecast.api.options import ApiOptions
from forecast.core.errors import ModelNotReady
from forecast.data.policy import DataPolicy
from forecast.data.requests import RequestReader
from forecast.serving.hosts import ROUTED, SECONDS_LEFT
from forecast.serving.inline import InlineHost
from forecast.serving.service import ModelService
from forecast.settings import Settings
from forecast.store.hub_settings import HubSettings
from forecast.store.sources import SourceResolver
from forecast.wiring.gateway import gateway_app
from tests.api.serving import AUTH, KEY, OPTIONS, client_of, failing, json_answer, replying, running
from tests.serving.toy_model import ToyModel, spec_of, write_offset

PATIENCE_S = 60.0
LATE_S = 1.0  # enough to read a request, and never to answer it behind a closed gate
TOY = "/forecast/v1/toy"
INFERENCE = f"{TOY}/inference"


@pytest.fixture(autouse=True)
def open_gates():
    ToyModel.loading.set()
    ToyModel.predicting.set()
    yield
    ToyModel.loading.set()
    ToyModel.predicting.set()


@contextmanager
def toy(folder, **options):
    """Serve a toy held inline, whose gates a test closes."""
    write_offset(folder / "toy", 1.0)
    sources = SourceResolver(
        local_roots=[folder], cache=folder / "cache", hub=HubSettings(), mlflow_tracking_uri=None
    )
    policy = DataPolicy(data_roots=(folder,), allow_private_urls=True)
    host = InlineHost(ModelService(spec_of(), sources), RequestReader(policy))
    with client_of({"toy": host}, policy=policy, **options) as client:
        yield client


def native(timeout_s=None, **more):
    parameters = {"horizon": 2} | ({} if timeout_s is None else {"timeout_s": timeout_s})
    return {"inputs": [{"target": [1.0, 2.0, 3.0]}], "parameters": parameters} | more


def sent(client, shape: str, timeout_s: float):
    """Send one of the shapes a request may have."""
    if shape == "upload":
        parameters = json.dumps({"horizon": 2, "timeout_s": timeout_s})
        form = {"schema": '{"timestamp": "day", "target": "y"}', "parameters": parameters}
        file = ("a.csv", b"day,y\n2026-01-01,1\n2026-01-02,2\n2026-01-03,3\n")
        return client.post(INFERENCE, data=form, files={"file": file})
    if shape == "named_file":
        body = examples.NAMED_FILE | {"parameters": {"horizon_len": 2, "timeout_s": timeout_s}}
        return client.post(INFERENCE, json=body)
    if shape == "table":
        body = examples.TABLE | {"parameters": {"horizon": 2, "timeout_s": timeout_s}}
        return client.post(INFERENCE, json=body)
    if shape == "routed":
        body = native(timeout_s, model="toy", fallback=["toy"])
        return client.post("/forecast/v1/forecast", json=body)
    return client.post(INFERENCE, json=native(timeout_s))


@pytest.mark.parametrize("shape", ["native", "table", "named_file", "upload", "routed"])
def test_a_load_keeps_nobody_longer_than_he_waits_and_goes_on(tmp_path, shape):
    dates = [f"2026-01-{day:02d},{day}\n" for day in range(1, 20)]
    (tmp_path / "sales.csv").write_text("date,sales\n" + "".join(dates))
    with toy(tmp_path) as client:
        ToyModel.loading.clear()
        assert client.post(f"{TOY}/initialization", json={"wait": False}).status_code == 202
        late = sent(client, shape, LATE_S)
        assert not ToyModel.loading.is_set()
        assert (late.status_code, late.json()["code"]) == (504, "deadline_passed"), late.text
        assert "toy was still being loaded" in late.json()["detail"]
        ToyModel.loading.set()
        answered = sent(client, shape, PATIENCE_S)
        assert answered.status_code == 200, answered.text


def test_a_long_forecast_keeps_nobody_longer_than_he_waits(tmp_path):
    with toy(tmp_path) as client:
        client.post(f"{TOY}/initialization", json={})
        ToyModel.predicting.clear()
        late = client.post(INFERENCE, json=native(LATE_S))
        ToyModel.predicting.set()
        assert (late.status_code, "being computed" in late.json()["detail"]) == (504, True)


def test_a_url_that_does_not_answer_keeps_nobody_longer_than_he_waits(tmp_path):
    with toy(tmp_path) as client, socket.create_server(("127.0.0.1", 0)) as silent:
        client.post(f"{TOY}/initialization", json={})
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/sales.csv"
        parameters = {"horizon_len": 2, "timeout_s": LATE_S}
        body = examples.NAMED_FILE | {"data_source_url_or_path": url, "parameters": parameters}
        late = client.post(INFERENCE, json=body)
        assert (late.status_code, "were being read" in late.json()["detail"]) == (504, True)


def test_a_body_that_does_not_arrive_is_not_waited_for(tmp_path):
    app = create_app(
        {"toy": replying("toy", json_answer({}))},
        ApiOptions(**OPTIONS, policy=DataPolicy(max_timeout_s=0.2)),
    )
    with running(app) as url:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        with socket.create_connection(address, timeout=PATIENCE_S) as connection:
            head = f"POST {INFERENCE} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n"
            connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
            assert b" 504 " in connection.recv(1024)


def test_the_models_that_are_tried_share_one_deadline():
    first, second = failing("first", ModelNotReady("no")), replying("second", json_answer({}))
    with client_of({"first": first, "second": second}) as client:
        body = native(3.0, model="first", fallback=["second"])
        before = time.monotonic()
        assert client.post("/forecast/v1/forecast", json=body).status_code == 200
        after = time.monotonic()
    assert first.calls[0].until == second.calls[0].until
    assert before < first.calls[0].until - 3.0 < after


@pytest.mark.parametrize(
    ("body", "timeout_s"),
    [
        (native(), 60),
        (native(7), 7),
        (native(0.5), 0.5),
        (native("7"), 60),
        (native(True), 60),
        (native(-1), 60),
        (native(601), 60),
        (native() | {"inputs": [{"target": [1], "static_covariates": {"timeout_s": 7}}]}, 60),
        ([], 60),
        ({"parameters": 7, "timeout_s": 9}, 60),
    ],
)
def test_the_deadline_is_the_one_the_body_names_or_the_default(body, timeout_s):
    host = replying("toy", json_answer({}))
    with client_of({"toy": host}) as client:
        before = time.monotonic()
        client.post(INFERENCE, json=body)
        assert before < host.calls[0].until - timeout_s < time.monotonic()


def test_a_gateway_takes_no_deadline_from_the_headers_of_its_callers():
    host = replying("toy", json_answer({}))
    told = {SECONDS_LEFT: "0", ROUTED: "other;model_not_ready"}
    with client_of({"toy": host}) as client:
        assert client.post(INFERENCE, json=native(7), headers=told).status_code == 200
        assert host.calls[0].left_s > 1
        assert host.calls[0].skipped is None


@pytest.mark.parametrize("text", ["5", "1e9", "inf", "nan", "-1", "soon"])
def test_a_host_takes_the_rest_of_a_deadline_from_its_gateway(text):
    host = replying("toy", json_answer({}))
    told = {SECONDS_LEFT: text, ROUTED: "a;model_not_ready, b;http_502"}
    with client_of({"toy": host}, is_host=True) as client:
        assert client.post(INFERENCE, json=native(7), headers=told).status_code == 200
    (call,) = host.calls
    assert call.left_s <= {"5": 5, "soon": 7, "nan": 0, "-1": 0}.get(text, 600)
    assert not math.isinf(call.until)
    if text != "soon":
        assert call.skipped == ("a;model_not_ready", "b;http_502")


def test_a_stopped_process_keeps_no_caller_of_the_gateway(tmp_path):
    settings = Settings(
        home=tmp_path, api_key=KEY, models=("sprout", "lstm"), replicas=1, workers=0
    )
    body = native(0.3)
    with (
        running(gateway_app(settings, dict(os.environ))) as url,
        httpx2.Client(base_url=url, headers=AUTH, timeout=90) as client,
    ):
        path = "/forecast/v1/sprout"
        assert client.post(f"{path}/inference", json=native()).status_code == 200
        (pid,) = _children("forecast.host")
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(2):
                late = client.post(f"{path}/inference", json=body)
                assert (late.status_code, late.json()["code"]) == (504, "deadline_passed")
            routed = client.post("/forecast/v1/forecast", json=body | {"model": "sprout"})
            assert routed.status_code == 504
            assert client.get(f"{path}/status").json()["model_status"] == "initializing"
        finally:
            os.kill(pid, signal.SIGCONT)
        assert client.post(f"{path}/inference", json=native()).status_code == 200
        assert _children("forecast.host") == [pid]
        large = native(model="lstm", fallback=["sprout"])
        stood_in = client.post("/forecast/v1/forecast", content=_padded(large))
        assert stood_in.status_code == 200, stood_in.text
        assert stood_in.json()["warnings"] == [
            "lstm could not answer (model_not_ready); sprout did"
        ]


def _padded(document) -> bytes:
    """Write a document so large that it is sent to its host in pieces."""
    return json.dumps(document).encode() + b" " * 3_000_000


def _children(module: str) -> list[int]:
    found = psutil.Process().children(recursive=True)
    return [one.pid for one in found if module in one.cmdline()]
