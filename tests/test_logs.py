"""One line an event, for people or for machines."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import logging
from forecast.logs import configure_logging
configure_logging({process!r}, {level!r}, {style!r}, access={access})
logging.getLogger("forecast.of_the_test").info("it %s", "happened")
logging.getLogger("forecast.access").info("a request", extra={{"fields": {{"status": 200}}}})
logging.getLogger("uvicorn.error").info("chatter")
logging.getLogger("a.library").info("chatter")
logging.getLogger("a.library").warning("worth knowing")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("forecast.of_the_test").exception("failed")
"""


def lines(process="gateway", level="info", style="plain", access=True) -> list[str]:
    """Log in a process of its own, for logging is configured for the whole of one."""
    script = SCRIPT.format(process=process, level=level, style=style, access=access)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == ""
    return run.stderr.splitlines()


def test_plain_lines_say_when_who_and_what():
    first, request, library = lines("host 50%s")[:3]
    assert first.endswith(" INFO host 50%s: forecast.of_the_test: it happened")
    assert request.endswith("forecast.access: a request")
    assert library.endswith("WARNING host 50%s: a.library: worth knowing")


def test_json_lines_are_objects_with_the_fields_of_their_record():
    first, request, _, failure = map(json.loads, lines(style="json"))
    assert first["message"] == "it happened"
    assert (first["level"], first["process"]) == ("info", "gateway")
    assert first["logger"] == "forecast.of_the_test"
    assert request["status"] == 200
    assert "ZeroDivisionError" in failure["traceback"]


@pytest.mark.parametrize("style", ["plain", "json"])
def test_requests_can_be_left_out(style):
    assert not [line for line in lines(style=style, access=False) if "a request" in line]


def test_a_higher_level_leaves_out_what_is_below():
    assert not [line for line in lines(level="error") if "it happened" in line]
