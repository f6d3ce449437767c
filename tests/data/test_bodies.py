"""Bodies: what routes them, small or large, is read the same; gzip is unpacked within its limit."""

import gzip

import orjson
import pytest

from forecast.core.errors import BadData, InvalidRequest, TooLarge
from forecast.data.bodies import Envelope, envelope_of, is_quick, timeout_of, unpacked
from forecast.data.policy import DataPolicy
from tests.training.request_helpers import FORM, form

POLICY = DataPolicy()
DEFAULT = POLICY.timeout_s
LARGE = b" " * 200_000


def both(body: bytes) -> tuple[bytes, bytes]:
    assert is_quick(body)
    assert not is_quick(LARGE + body)
    return body, LARGE + body


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"model": "a"}', Envelope("a", None, DEFAULT)),
        ('{"model": null, "parameters": null}', Envelope(None, None, DEFAULT)),
        ('{"mod\\u0065l": "\\u00e9", "fallback": ["b", "c"]}', Envelope("é", ["b", "c"], DEFAULT)),
        ('{"inputs": [{"model": "no"}], "model": "a"}', Envelope("a", None, DEFAULT)),
        ('{"x": "\\"}],{", "model": "a", "y": [[["]"]]]}', Envelope("a", None, DEFAULT)),
        ('{"model": "a", "parameters": {"timeout_s": 5}}', Envelope("a", None, 5.0)),
        ('{"parameters": {"x": {"timeout_s": 7}}, "timeout_s": 7}', Envelope(None, None, DEFAULT)),
        ('{"parameters": {"timeout\\u005fs": 0.25, "x": 1}}', Envelope(None, None, 0.25)),
        ('{"parameters": {"timeout_s": -1}}', Envelope(None, None, DEFAULT)),
        ('{"parameters": {"timeout_s": 601}}', Envelope(None, None, DEFAULT)),
    ],
)
def test_the_fields_are_found_wherever_they_stand_and_however_they_are_spelled(text, found):
    for body in both(text.encode()):
        assert envelope_of(body, POLICY) == found
        assert timeout_of(body, "application/json", POLICY) == found.timeout_s


@pytest.mark.parametrize("text", ["{", '{"model": "a"} x', '{"a": 1}{"b": 2}', "[" * 20_000])
def test_what_is_no_json_is_refused_and_takes_the_default_time(text):
    for body in both(text.encode()):
        with pytest.raises((BadData, InvalidRequest)):
            envelope_of(body, POLICY)
        assert timeout_of(body + b"timeout_s", "application/json", POLICY) == DEFAULT


@pytest.mark.parametrize("parameters", ['{"timeout_s": 3}', '{"timeout\\u005fs": 3}'])
def test_the_time_of_an_upload_stands_in_its_parameters(parameters):
    known = {"schema": {"target": "y"}}
    assert timeout_of(form(parameters=parameters, **known), FORM, POLICY) == 3.0
    table = "timeout_s,y\n3,1\n"
    assert timeout_of(form(file=table, **known), FORM, POLICY) == DEFAULT
    assert timeout_of(form(file=table, parameters="[3]", **known), FORM, POLICY) == DEFAULT
    assert timeout_of(b"timeout_s", FORM, POLICY) == DEFAULT
    assert timeout_of(b"timeout_s", "text/csv", POLICY) == DEFAULT


def test_a_large_body_is_read_as_a_small_one_would_be():
    document = {
        "inputs": [
            {"item_id": f"ä{row}", "target": [row / 3, None, -1e-300]} for row in range(9000)
        ],
        "fallback": ["x"],
        "parameters": {"horizon": 3, "timeout_s": 12.5, "quantile_levels": [0.1, 0.9]},
        "model": "last",
    }
    body = orjson.dumps(document)
    assert not is_quick(body)
    assert envelope_of(body, POLICY) == Envelope("last", ["x"], 12.5)


def test_members_are_joined_wherever_the_slices_end():
    rows = [f"2024-01-01,{number}\n".encode() for number in range(2000)]
    body = b"".join(gzip.compress(row, mtime=0) for row in rows)
    whole = b"".join(rows)
    assert unpacked(body, len(whole)) == whole
    with pytest.raises(TooLarge):
        unpacked(body, len(whole) - 1)
    with pytest.raises(BadData, match="early"):
        unpacked(body[:-4], len(whole))
