"""What happens around every request."""

import asyncio
import gzip
import logging
import socket
import threading

import httpx2
import pytest

from forecast.api.app import create_app
from forecast.api.options import ApiOptions
from forecast.serving.hosts import Answer, Call, Operation
from tests.api.serving import (
    KEY,
    OPTIONS,
    ScriptedHost,
    caller,
    client_of,
    json_answer,
    replying,
    running,
    status_answer,
)

INFERENCE = "/forecast/v1/toy/inference"
PATIENCE_S = 60.0


@pytest.fixture
def hosts():
    return {"toy": replying("toy", status_answer("ready"))}


@pytest.fixture
def client(hosts):
    with client_of(hosts, max_body_bytes=1000) as client:
        yield client


def test_a_sane_request_id_comes_back_and_reaches_the_host(client, hosts):
    response = client.post(INFERENCE, json={}, headers={"X-Request-ID": "job-7/row:3"})
    assert response.headers["x-request-id"] == "job-7/row:3"
    assert hosts["toy"].calls[0].request_id == "job-7/row:3"


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\tb", "<script>", "ä".encode()])
def test_any_other_request_id_is_replaced(client, hosts, given):
    response = client.post(INFERENCE, json={}, headers={"X-Request-ID": given})
    made = response.headers["x-request-id"]
    assert len(made) == 32
    assert hosts["toy"].calls[0].request_id == made


def test_every_answer_tells_how_long_it_took(client):
    for path in ("/health/live", "/nothing"):
        assert float(client.get(path).headers["x-process-time"]) >= 0


def test_a_body_that_announces_too_much_is_refused_unread(client, hosts):
    response = client.post(INFERENCE, content=b"x" * 1001)
    assert response.status_code == 413
    assert response.json()["code"] == "too_large"
    assert "1000" in response.json()["detail"]
    assert hosts["toy"].calls == []


def test_a_body_that_streams_too_much_is_refused_too(client, hosts):
    response = client.post(INFERENCE, content=iter([b"x" * 600, b"x" * 600]))
    assert response.status_code == 413
    assert hosts["toy"].calls == []


def test_a_body_of_the_very_limit_passes(client, hosts):
    assert client.post(INFERENCE, content=b"x" * 1000).status_code == 200
    assert client.post(INFERENCE, content=iter([b"x" * 500, b"x" * 500])).status_code == 200
    assert [len(call.body) for call in hosts["toy"].calls] == [1000, 1000]


def test_a_gzip_body_is_unpacked_within_the_limit_and_other_encodings_are_named(client, hosts):
    def post(body, encoding="gzip"):
        return client.post(INFERENCE, content=body, headers={"Content-Encoding": encoding})

    packed = gzip.compress(b"x" * 1000)
    assert post(packed).status_code == 200
    assert post(iter([packed[:10], packed[10:]])).status_code == 200
    assert [call.body for call in hosts["toy"].calls] == [b"x" * 1000] * 2
    bomb = post(gzip.compress(b"x" * 1001))
    assert (bomb.status_code, bomb.json()["code"]) == (413, "too_large")
    assert "1000" in bomb.json()["detail"]
    for broken in (b"x", packed[:-4]):
        assert post(broken).status_code == 400
    other = post(b"x", "br")
    assert other.status_code == 415
    assert "Content-Encoding 'br'" in other.json()["detail"]
    assert len(hosts["toy"].calls) == 2


def test_while_draining_new_work_is_turned_away_and_health_still_answers(hosts):
    app = create_app(hosts, ApiOptions(**OPTIONS))
    with running(app) as url, caller(url) as client:
        assert client.get("/health/ready").status_code == 200
        app.state.lifecycle.draining = True
        refused = client.post(INFERENCE, json={})
        assert (refused.status_code, refused.json()["code"]) == (503, "draining")
        assert refused.headers["retry-after"] == "5"
        assert client.get("/health/live").status_code == 200
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
        assert ready.json()["checks"]["accepting"]["ok"] is False


def test_a_request_is_one_line_of_the_access_log_with_its_fields(hosts, caplog):
    caplog.set_level(logging.INFO, logger="forecast.access")
    with client_of(hosts) as client:
        client.get("/health/live", headers={"X-Request-ID": "find-me"})
        client.get("/a%0afake%20line")
    first, second = [record for record in caplog.records if record.name == "forecast.access"]
    assert first.fields["path"] == "/health/live"
    assert first.fields["status"] == 200
    assert first.fields["request_id"] == "find-me"
    assert "\n" not in second.getMessage()
    assert KEY not in caplog.text


class Waiting:
    """A host's behaviour that waits until the test has gone."""

    def __init__(self):
        self.entered = threading.Event()
        self.given_up = threading.Event()

    async def __call__(self, call: Call) -> Answer:
        if call.operation is not Operation.INFERENCE:
            return status_answer("ready")
        self.entered.set()
        try:
            await asyncio.sleep(PATIENCE_S)
        except asyncio.CancelledError:
            self.given_up.set()
            raise
        return json_answer({})


def hang_up(url: str, entered: threading.Event) -> None:
    """Send a request, and close the connection once the host works on it."""
    address = httpx2.URL(url)
    with socket.create_connection((address.host, address.port)) as caller:
        caller.sendall(
            f"POST {INFERENCE} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n"
            "X-Request-ID: gone\r\nContent-Length: 2\r\n\r\n{}".encode()
        )
        assert entered.wait(PATIENCE_S)


def test_a_caller_who_gives_up_stops_the_work_and_is_one_quiet_line(caplog):
    caplog.set_level(logging.INFO)
    waiting = Waiting()
    host = ScriptedHost("toy", waiting)
    with running(create_app({"toy": host}, ApiOptions(**OPTIONS))) as url:
        hang_up(url, waiting.entered)
        assert waiting.given_up.wait(PATIENCE_S)
    gone = [
        record
        for record in caplog.records
        if getattr(record, "fields", {}).get("request_id") == "gone"
    ]
    assert [record.fields["status"] for record in gone] == [499]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_large_answers_are_compressed_for_who_accepts_it_small_ones_never():
    document = {"rows": list(range(1000))}
    host = replying("toy", json_answer(document))
    with client_of({"toy": host}, compress_min_bytes=1000) as client:
        large = client.post(INFERENCE, json={})
        assert large.headers["content-encoding"] == "gzip"
        assert large.json() == document
        plain = client.post(INFERENCE, json={}, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert "content-encoding" not in client.get("/health/live").headers
    with client_of({"toy": host}, compress_min_bytes=0) as client:
        assert "content-encoding" not in client.post(INFERENCE, json={}).headers


def test_a_page_of_a_known_origin_may_call_and_read_errors(hosts):
    with client_of(hosts, cors_origins=("https://app.example",)) as client:
        preflight = client.options(
            INFERENCE,
            headers={
                "Origin": "https://app.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type",
            },
        )
        assert preflight.status_code == 200
        for method, header in (("PUT", "idempotency-key"), ("DELETE", "last-event-id")):
            preflight = client.options(
                "/forecast/v1/toy/aliases/current",
                headers={
                    "Origin": "https://app.example",
                    "Access-Control-Request-Method": method,
                    "Access-Control-Request-Headers": header,
                },
            )
            assert preflight.status_code == 200
        refused = client.get("/nothing", headers={"Origin": "https://app.example"})
        assert refused.headers["access-control-allow-origin"] == "https://app.example"
        exposed = refused.headers["access-control-expose-headers"].split(", ")
        assert {"X-Request-ID", "Location"} <= set(exposed)
        other = client.get("/health/live", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_without_origins_no_page_may_call(client):
    response = client.get("/health/live", headers={"Origin": "https://app.example"})
    assert "access-control-allow-origin" not in response.headers
