"""What a gateway has to know of a body that it passes on: which model answers it, and by when.

Nothing else is decoded. Of a large body only these fields are read, with the interpreter's lock
released, so that other requests go on meanwhile; the process with the model reads the rest.
"""

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow.json import ParseOptions, ReadOptions
from pyarrow.json import read_json as read_rows

from forecast.core.errors import BadData, ForecastError, InvalidRequest
from forecast.data.policy import DataPolicy
from forecast.data.requests import QUICK_BYTES, is_json
from forecast.data.uploads import PARTS, read_parts
from forecast.data.validation import read_json

_TIMEOUT = pa.field("parameters", pa.struct([("timeout_s", pa.float64())]))
_ROUTE = (pa.field("model", pa.string()), pa.field("fallback", pa.list_(pa.string())))
_MOST_BYTES = 2**31 - 1  # of a block of the reader
_FIELD = re.compile(r"Column\((/\w+)")


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields of a request to the route across models that say where it goes, unchecked."""

    model: Any
    fallback: Any
    timeout_s: float


def is_quick(body: bytes) -> bool:
    """Whether a body is so small that reading it on an event loop holds nobody up."""
    return len(body) <= QUICK_BYTES


def envelope_of(body: bytes, policy: DataPolicy) -> Envelope:
    """Read the fields of a JSON body that say where it goes, and how long that may take.

    Raises:
        BadData: it is not JSON.
        InvalidRequest: it is no object, or one of the fields is of the wrong kind.
    """
    fields = _fields(body, pa.schema([*_ROUTE, _TIMEOUT]))
    return Envelope(
        fields.get("model"), fields.get("fallback"), _seconds(fields.get("parameters"), policy)
    )


def timeout_of(body: bytes, content_type: str, policy: DataPolicy) -> float:
    """Find how many seconds a request may take, in whatever shape it comes.

    A body that cannot be read takes the default: whoever reads it whole says what is wrong.
    """
    if b"timeout_s" not in body and b"\\u" not in body:
        return policy.timeout_s
    try:
        if is_json(content_type):
            return _seconds(_fields(body, pa.schema([_TIMEOUT])).get("parameters"), policy)
        parts = read_parts(body, content_type, policy, PARTS)
        return _seconds(parts["parameters"].json() if "parameters" in parts else None, policy)
    except ForecastError:
        return policy.timeout_s


def _seconds(parameters: Any, policy: DataPolicy) -> float:
    asked = parameters.get("timeout_s") if isinstance(parameters, dict) else None
    if isinstance(asked, bool) or not isinstance(asked, (int, float)):
        return policy.timeout_s
    return float(asked) if 0 < asked <= policy.max_timeout_s else policy.timeout_s


def _fields(body: bytes, schema: pa.Schema) -> dict[str, Any]:
    if not is_quick(body) and len(body) < _MOST_BYTES:
        return _fields_of_large(body, schema)
    document = read_json(body)
    if not isinstance(document, dict):
        raise InvalidRequest("the body must be a JSON object")
    return document


def _fields_of_large(body: bytes, schema: pa.Schema) -> dict[str, Any]:
    """Read some fields of a JSON object; the parser is iterative and releases the lock."""
    try:
        rows = read_rows(
            pa.BufferReader(body),
            ReadOptions(use_threads=False, block_size=len(body) + 1),
            ParseOptions(schema, newlines_in_values=True, unexpected_field_behavior="ignore"),
        ).to_pylist()
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise _refusal(str(error)) from error
    if len(rows) != 1:
        raise BadData("the body must be one JSON object")
    fields: dict[str, Any] = rows[0]
    return fields


def _refusal(reason: str) -> ForecastError:
    if field := _FIELD.search(reason):
        return InvalidRequest.field(field[1], "is of the wrong kind, or stands twice")
    if "Column()" in reason:
        return InvalidRequest("the body must be a JSON object")
    return BadData(f"the body is not JSON: {reason.removeprefix('JSON parse error: ')}")
