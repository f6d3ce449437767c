"""`POST /forecast/v1/forecast`: which model answers, and what the caller learns of it."""

import asyncio

import orjson
import pytest

from forecast.api.app import create_app
from forecast.api.options import ApiOptions
from forecast.core.errors import (
    BadData,
    BadModelOutput,
    DeadlinePassed,
    HostUnavailable,
    MissingLibrary,
    ModelNotReady,
    QueueFull,
)
from forecast.serving.hosts import Answer
from tests.api.serving import (
    KEY,
    OPTIONS,
    ScriptedHost,
    client_of,
    failing,
    json_answer,
    replying,
)

PATH = "/forecast/v1/forecast"
JSON = {"Content-Type": "application/json"}
LARGE = 50_000_000
BODY = {"inputs": [{"target": [1, None, 2.5]}], "parameters": {"horizon": 2}}


def answering(model_id):
    return replying(model_id, json_answer({"model": {"id": model_id}, "warnings": ["own"]}))


def test_the_model_named_gets_the_bytes_as_they_came():
    first, second = answering("first"), answering("second")
    sent = orjson.dumps({"model": "second", "fallback": ["first"], **BODY}) + b"  "
    with client_of({"first": first, "second": second}) as client:
        response = client.post(PATH, content=sent, headers=JSON)
    assert response.json() == {"model": {"id": "second"}, "warnings": ["own"]}
    assert response.headers["x-forecast-model"] == "second"
    assert "x-forecast-skipped" not in response.headers
    assert first.calls == []
    (call,) = second.calls
    assert call.body == sent
    assert call.skipped == ()


def test_an_alias_of_the_configuration_names_a_model():
    with client_of({"toy": answering("toy")}, aliases={"default": "toy"}) as client:
        assert client.post(PATH, json={"model": "default", **BODY}).status_code == 200
        assert client.get("/forecast/v1/models").json()["aliases"] == {"default": "toy"}


@pytest.mark.parametrize(
    "error",
    [
        ModelNotReady("not loaded"),
        HostUnavailable("away"),
        BadModelOutput("not finite"),
        MissingLibrary("pip install"),
    ],
    ids=lambda error: error.code,
)
def test_a_fallback_answers_for_a_model_that_cannot_and_says_so(error):
    hosts = {"first": failing("first", error), "second": answering("second")}
    with client_of(hosts) as client:
        response = client.post(PATH, json={"model": "first", "fallback": ["second"], **BODY})
    assert response.status_code == 200
    assert response.headers["x-forecast-model"] == "second"
    assert response.headers["x-forecast-skipped"] == f"first;{error.code}"
    assert hosts["second"].calls[0].skipped == (f"first;{error.code}",)


def test_a_host_elsewhere_says_that_it_cannot_by_its_answer():
    away = Answer(503, b'{"code": "draining"}', "application/problem+json")
    broken = Answer(502, b"<html>bad gateway</html>", "text/html")
    odd = Answer(503, b'{"code": "no\\r\\nX-Injected: 1"}', "application/problem+json")
    hosts = {
        "first": replying("first", away),
        "second": replying("second", broken),
        "odd": replying("odd", odd),
        "third": answering("third"),
    }
    body = {"model": "first", "fallback": ["second", "odd", "third"], **BODY}
    with client_of(hosts) as client:
        response = client.post(PATH, json=body)
    assert response.headers["x-forecast-skipped"] == "first;draining, second;http_502, odd;http_503"
    assert response.json()["model"]["id"] == "third"


@pytest.mark.parametrize(
    "error",
    [BadData("not yours to mend"), QueueFull("wait"), DeadlinePassed("late")],
    ids=lambda error: error.code,
)
def test_what_another_model_would_not_mend_is_answered_at_once(error):
    hosts = {"first": failing("first", error), "second": answering("second")}
    with client_of(hosts) as client:
        response = client.post(PATH, json={"model": "first", "fallback": ["second"], **BODY})
    assert (response.status_code, response.json()["code"]) == (error.status, error.code)
    assert hosts["second"].calls == []


def test_where_no_model_can_answer_the_reason_of_the_first_counts():
    hosts = {
        "first": failing("first", ModelNotReady("load it first")),
        "second": failing("second", HostUnavailable("away")),
    }
    with client_of(hosts) as client:
        response = client.post(PATH, json={"model": "first", "fallback": ["second"], **BODY})
    assert (response.status_code, response.json()["detail"]) == (409, "load it first")


def test_a_csv_answer_of_a_fallback_is_left_as_it_is():
    csv = replying("second", Answer(200, b"a,b\n1,2\n", "text/csv"))
    hosts = {"first": failing("first", ModelNotReady("no")), "second": csv}
    with client_of(hosts) as client:
        response = client.post(PATH, json={"model": "first", "fallback": ["second"], **BODY})
    assert response.content == b"a,b\n1,2\n"
    assert response.headers["x-forecast-model"] == "second"


def test_a_model_is_asked_once_however_often_it_is_named():
    host = failing("toy", ModelNotReady("no"))
    with client_of({"toy": host}, aliases={"other": "toy"}) as client:
        client.post(PATH, json={"model": "toy", "fallback": ["other", "toy"], **BODY})
    assert len(host.calls) == 1


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({}, 422, "/model"),
        ({"model": None}, 422, "/model"),
        ({"model": ["toy"]}, 422, "/model"),
        ({"model": "nope"}, 404, "/model"),
        ({"model": "toy", "fallback": "toy"}, 422, "/fallback"),
        ({"model": "toy", "fallback": [1]}, 422, "/fallback"),
        ({"model": "toy", "fallback": ["toy", "nope"]}, 404, "/fallback/1"),
        ({"model": "toy", "fallback": ["toy"] * 9}, 422, "/fallback"),
    ],
)
def test_a_request_that_names_no_model_properly_is_refused_before_any_is_asked(
    body, status, pointer
):
    host = answering("toy")
    with client_of({"toy": host}) as client:
        response = client.post(PATH, json=body)
    assert response.status_code == status
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
    assert host.calls == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"NaN"])
def test_a_body_that_is_not_json_is_bad_data(body):
    with client_of({"toy": answering("toy")}) as client:
        response = client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (400, "bad_data")


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"model"'])
def test_a_body_that_is_no_object_is_refused(body):
    with client_of({"toy": answering("toy")}) as client:
        response = client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422


def test_a_file_belongs_to_the_routes_of_a_model():
    with client_of({"toy": answering("toy")}) as client:
        response = client.post(PATH, content=b"a,b", headers={"Content-Type": "text/csv"})
    assert response.status_code == 415
    assert "/inference" in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "pointers"),
    [
        (b"{", 400, []),
        (b'{"model": "toy"} {"model": "toy"}', 400, []),
        (b"[1]", 422, []),
        (b'{"fallback": []}', 422, ["/model"]),
        (b'{"model": 3}', 422, ["/model"]),
        (b'{"model": "nope"}', 404, ["/model"]),
        (b'{"model": "toy", "fallback": "toy"}', 422, ["/fallback"]),
        (b'{"model": "toy", "fallback": [1]}', 422, ["/fallback"]),
    ],
)
def test_a_large_body_is_refused_as_a_small_one_is(body, status, pointers):
    host = answering("toy")
    with client_of({"toy": host}) as client:
        small, large = (
            client.post(PATH, content=content, headers=JSON)
            for content in (body, b" " * 200_000 + body)
        )
    for response in (small, large):
        assert response.status_code == status, response.text
        assert [error["pointer"] for error in response.json()["errors"]] == pointers
    assert small.json()["code"] == large.json()["code"]
    assert host.calls == []


def test_a_large_body_lets_others_be_answered_while_it_is_read_and_reaches_its_host_whole():
    """Drive the application in one event loop, and look at the order in which things happen."""
    number = b"1234.5,"
    target = number * (LARGE // len(number)) + b"1"
    body = b'{"inputs":[{"target":[' + target + b']}],"parameters":{"timeout_s":9},"model":"toy"}'
    order: list[str] = []

    async def behave(call):
        order.append("large forwarded")
        return json_answer({})

    host = ScriptedHost("toy", behave)
    app = create_app({"toy": host}, ApiOptions(**OPTIONS))

    async def flow() -> None:
        large = asyncio.create_task(asked(app, "POST", PATH, body, order))
        while not large.done():
            assert await asked(app, "GET", "/health/live", b"", []) == 200
            order.append("small answered")
            await asyncio.sleep(0)
        assert await large == 200

    asyncio.run(flow())
    between = order[order.index("large received") : order.index("large forwarded")]
    assert between.count("small answered") >= 5  # a turn or two of the loop pass in any case
    assert host.calls[0].body == body


async def asked(app, method: str, path: str, content: bytes, order: list[str]) -> int:
    """Send a request to an application; `order` is told when its body has arrived."""
    statuses = []
    messages = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive():
        if not messages:
            await asyncio.Event().wait()
        order.append("large received")
        return messages.pop()

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [(b"x-api-key", KEY.encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "http_version": "1.1", "scheme": "http", "root_path": ""}
    place = {"method": method, "path": path, "query_string": b"", "headers": headers}
    await app(scope | place, receive, send)
    return statuses[0]
