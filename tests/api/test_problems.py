"""Every failure has one shape, and tells nothing internal."""

import json
import logging
import re

import pytest

from forecast.core import errors
from forecast.core.errors import FieldError, ForecastError, InvalidRequest, QueueFull
from tests.api.serving import client_of, failing, replying, status_answer

INFERENCE = "/forecast/v1/toy/inference"
MEMBERS = {
    "type",
    "title",
    "status",
    "detail",
    "instance",
    "code",
    "request_id",
    "errors",
    "error",
    "message",
}


def problem(response):
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert set(document) >= MEMBERS
    assert document["status"] == response.status_code
    assert document["error"] == document["code"]
    assert document["message"] == document["detail"]
    assert document["request_id"] == response.headers["x-request-id"]
    assert document["instance"] == response.request.url.path
    assert document["type"].endswith(document["code"])
    return document


def every_error():
    found = [ForecastError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return [
        kind for kind in found if kind is not ForecastError and kind.__module__ == errors.__name__
    ]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_an_error_of_ours_becomes_its_problem(kind):
    with client_of({"toy": failing("toy", kind("what to change"))}) as client:
        response = client.post(INFERENCE, json={})
    document = problem(response)
    assert (response.status_code, document["code"]) == (kind.status, kind.code)
    assert (document["title"], document["detail"]) == (kind.title, "what to change")
    assert document["errors"] == []


def test_a_field_error_points_into_the_request():
    error = InvalidRequest("two", errors=[FieldError("/a~1b/0", "bad"), FieldError("", "worse")])
    with client_of({"toy": failing("toy", error)}) as client:
        document = problem(client.post(INFERENCE, json={}))
    assert document["errors"] == [
        {"pointer": "/a~1b/0", "detail": "bad"},
        {"pointer": "", "detail": "worse"},
    ]


@pytest.mark.parametrize(("pause_s", "header"), [(0.2, "1"), (2.0, "2"), (2.1, "3")])
def test_a_pause_to_wait_is_in_whole_seconds_never_zero(pause_s, header):
    error = QueueFull("full", retry_after_s=pause_s)
    with client_of({"toy": failing("toy", error)}) as client:
        assert client.post(INFERENCE, json={}).headers["retry-after"] == header


def test_a_bug_tells_the_caller_nothing_and_the_log_everything_once(caplog):
    secret = "postgres://user:password@/srv/private"
    caplog.set_level(logging.ERROR)
    with client_of({"toy": failing("toy", RuntimeError(secret))}) as client:
        response = client.post(INFERENCE, json={}, headers={"X-Request-ID": "find-me"})
    document = problem(response)
    assert (response.status_code, document["code"]) == (500, "internal_error")
    assert secret not in response.text
    assert "Traceback" not in response.text
    with_traceback = [record for record in caplog.records if record.exc_info]
    assert len(with_traceback) == 1
    assert "find-me" in with_traceback[0].getMessage()
    assert secret in str(with_traceback[0].exc_info[1])


def test_an_unknown_path_is_a_problem():
    with client_of({"toy": replying("toy", status_answer("ready"))}) as client:
        document = problem(client.get("/nothing/here"))
    assert (document["status"], document["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/forecast/v1/nope/inference", "/forecast/v1/nope"])
def test_an_unknown_model_is_told_from_an_unknown_path(path):
    with client_of({"toy": replying("toy", status_answer("ready"))}) as client:
        document = problem(client.get(path))
    assert (document["status"], document["code"]) == (404, "unknown_model")
    assert "toy" in document["detail"]


def test_an_unknown_path_under_a_model_is_not_an_unknown_model():
    with client_of({"toy": replying("toy", status_answer("ready"))}) as client:
        assert problem(client.get("/forecast/v1/toy/nothing"))["code"] == "not_found"


def test_a_wrong_method_says_which_are_right():
    with client_of({"toy": replying("toy", status_answer("ready"))}) as client:
        response = client.get(INFERENCE)
    assert problem(response)["code"] == "method_not_allowed"
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


def test_a_problem_of_a_host_elsewhere_passes_as_it_is():
    from forecast.serving.hosts import Answer

    body = json.dumps({"code": "queue_full", "status": 429}).encode()
    answer = Answer(429, body, "application/problem+json", {"Retry-After": "7"})
    with client_of({"toy": replying("toy", answer)}) as client:
        response = client.post(INFERENCE, json={})
    assert (response.status_code, response.content) == (429, body)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "7"


def test_what_a_path_holds_cannot_break_the_answer():
    with client_of({"toy": replying("toy", status_answer("ready"))}) as client:
        response = client.get("/x%0d%0aSet-Cookie:%20a=1%22%00ä")
    assert response.status_code == 404
    assert "set-cookie" not in response.headers
    assert re.fullmatch(r"[!-~]+", response.json()["instance"])
