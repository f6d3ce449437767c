"""`POST /forecast/v1/forecast`: which model answers, and what the caller learns of it."""

import pytest

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
from tests.api.serving import client_of, failing, json_answer, replying

PATH = "/forecast/v1/forecast"
BODY = {"inputs": [{"target": [1, None, 2.5]}], "parameters": {"horizon": 2}}


def answering(model_id):
    return replying(model_id, json_answer({"model": {"id": model_id}, "warnings": ["own"]}))


def test_the_model_named_answers_and_never_sees_how_it_was_chosen():
    first, second = answering("first"), answering("second")
    with client_of({"first": first, "second": second}) as client:
        response = client.post(PATH, json={"model": "second", "fallback": ["first"], **BODY})
    assert response.json() == {"model": {"id": "second"}, "warnings": ["own"]}
    assert response.headers["x-forecast-model"] == "second"
    assert "x-forecast-skipped" not in response.headers
    assert first.calls == []
    (call,) = second.calls
    assert call.body == b'{"inputs":[{"target":[1,null,2.5]}],"parameters":{"horizon":2}}'


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
    assert response.json()["warnings"] == [
        "own",
        f"first could not answer ({error.code}); second did",
    ]


def test_a_host_elsewhere_says_that_it_cannot_by_its_answer():
    away = Answer(503, b'{"code": "draining"}', "application/problem+json")
    broken = Answer(502, b"<html>bad gateway</html>", "text/html")
    hosts = {
        "first": replying("first", away),
        "second": replying("second", broken),
        "third": answering("third"),
    }
    body = {"model": "first", "fallback": ["second", "third"], **BODY}
    with client_of(hosts) as client:
        response = client.post(PATH, json=body)
    assert response.headers["x-forecast-skipped"] == "first;draining, second;http_502"
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
