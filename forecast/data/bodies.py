"""Request bodies as bytes: unpack gzip, take forms apart, read the fields that route a request."""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyarrow.json import ParseOptions, ReadOptions
from pyarrow.json import read_json as read_rows
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from forecast.core.errors import BadData, FieldError, ForecastError, InvalidRequest, TooLarge
from forecast.core.validation import invalid, read_json
from forecast.data.policy import DataPolicy

QUICK_BYTES = 128 * 1024
UPLOAD_PARTS = ("file", "schema", "parameters")

_JSON_TYPES = {"", "application/json", "application/x-www-form-urlencoded"}
_MAX_JSON_PART_BYTES = 256 * 1024
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_SLICE = 4096  # bytes; each member copies the rest of its slice, so many tiny ones stay cheap
_TIMEOUT = pa.field("parameters", pa.struct([("timeout_s", pa.float64())]))
_ROUTE = (pa.field("model", pa.string()), pa.field("fallback", pa.list_(pa.string())))
_MAX_BLOCK_BYTES = 2**31 - 1  # of the JSON reader of Arrow
_FIELD_IN_ERROR = re.compile(r"Column\((/\w+)")


def media_type_of(content_type: str) -> str:
    """Return the media type of a Content-Type header, in lower case and without parameters."""
    return content_type.partition(";")[0].strip().lower()


def is_json(content_type: str) -> bool:
    """Whether a body is read as JSON; `curl -d` labels it as a form by default."""
    media_type = media_type_of(content_type)
    return media_type in _JSON_TYPES or media_type.endswith("+json")


def is_quick(body: bytes) -> bool:
    """Whether a body is small enough to be read on an event loop."""
    return len(body) <= QUICK_BYTES


class Gunzip:
    """Decompresses one gzip stream part by part, up to a limit. Not thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._stream = zlib.decompressobj(_GZIP)

    def feed(self, packed: bytes) -> bytes:
        """Decompress the next part.

        Raises:
            BadData: it is not gzip.
            TooLarge: the stream decompresses to more than the limit.
        """
        slices = (packed[at : at + _GZIP_SLICE] for at in range(0, len(packed), _GZIP_SLICE))
        return b"".join(part for each in slices for part in self._parts(each))

    def _parts(self, packed: bytes) -> Iterator[bytes]:
        while packed:
            if self._stream.eof:  # gzip members may follow one another
                self._stream = zlib.decompressobj(_GZIP)
            try:
                part = self._stream.decompress(packed, self._max_bytes - self._size + 1)
            except zlib.error as error:
                raise BadData("the data are not gzip, or are damaged") from error
            self._size += len(part)
            if self._size > self._max_bytes:
                raise TooLarge(
                    f"the data unpack to more than the {self._max_bytes} bytes allowed; send fewer"
                )
            yield part
            packed = self._stream.unused_data

    def finish(self) -> None:
        """Check that the stream is complete.

        Raises:
            BadData: the stream ends early.
        """
        if not self._stream.eof:
            raise BadData("the gzip data end early; send them whole")


def unpacked(body: bytes, max_bytes: int) -> bytes:
    """Decompress a gzip body; return any other body unchanged."""
    if not body.startswith(_GZIP_MAGIC):
        return body
    stream = Gunzip(max_bytes)
    plain = stream.feed(body)
    stream.finish()
    return plain


@dataclass(slots=True)
class FormPart:
    """One part of a multipart body.

    Attributes:
        headers: lower-case name → value.
    """

    headers: dict[str, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)

    @property
    def name(self) -> str:
        return self._disposition(b"name")

    @property
    def filename(self) -> str:
        return self._disposition(b"filename")

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", b"").decode("latin-1")

    def json(self) -> Any:
        """Parse the part as JSON.

        Raises:
            BadData: it is not JSON.
            TooLarge: it is larger than a JSON part may be.
        """
        if len(self.body) > _MAX_JSON_PART_BYTES:
            raise TooLarge(f"the part {self.name!r} is larger than {_MAX_JSON_PART_BYTES} bytes")
        try:
            return read_json(bytes(self.body))
        except BadData as error:
            raise BadData(f"the part {self.name!r} must hold JSON: {error.detail}") from error

    def _disposition(self, option: bytes) -> str:
        options = parse_options_header(self.headers.get("content-disposition", b""))[1]
        return options.get(option, b"").decode("utf-8", "replace")


def read_parts(
    body: bytes, content_type: str, policy: DataPolicy, known: Sequence[str]
) -> dict[str, FormPart]:
    """Split a multipart/form-data body into its parts, by name.

    Args:
        known: names of the parts allowed; `file` and `schema` are required.

    Raises:
        BadData: the body is not valid multipart data.
        InvalidRequest: a part is missing, unknown or sent twice; points at the part.
        TooLarge: a part is larger than allowed, or there are too many.
    """
    parts: dict[str, FormPart] = {}
    for part in _split(body, content_type, policy.max_file_bytes, known):
        if part.name not in known:
            raise InvalidRequest.field(
                f"/{part.name}", f"unknown part; known are {', '.join(known)}"
            )
        if part.name in parts:
            raise InvalidRequest.field(f"/{part.name}", "this part is sent twice")
        parts[part.name] = part
    missing = [name for name in ("file", "schema") if name not in parts]
    if missing:
        raise invalid([FieldError(f"/{name}", "this part is required") for name in missing])
    return parts


def _split(body: bytes, content_type: str, max_bytes: int, known: Sequence[str]) -> list[FormPart]:
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise BadData("the multipart body has no boundary in its Content-Type")
    collector = _Collector(max_bytes, known)
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise BadData("the multipart body is broken") from error
    if not collector.is_complete:
        raise BadData("the multipart body ends before its last boundary")
    return collector.parts


class _Collector:
    """Collects parts as the parser finds them; the parser bounds the size of their headers."""

    def __init__(self, max_bytes: int, known: Sequence[str]) -> None:
        self.parts: list[FormPart] = []
        self.is_complete = False
        self._known = known
        self._max_bytes = max_bytes
        self._name = bytearray()
        self._value = bytearray()

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) == len(self._known) + 1:
            raise TooLarge(f"an upload has the parts {', '.join(self._known)}; this has more")
        self.parts.append(FormPart())

    def _data(self, data: bytes, start: int, end: int) -> None:
        body = self.parts[-1].body
        if len(body) + end - start > self._max_bytes:
            raise TooLarge(f"the uploaded file is larger than the {self._max_bytes} bytes allowed")
        body += data[start:end]

    def _header(self) -> None:
        name = self._name.decode("latin-1").lower()
        self.parts[-1].headers[name] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _end(self) -> None:
        self.is_complete = True


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields that route a request across models, unchecked."""

    model: Any
    fallback: Any
    timeout_s: float


def envelope_of(body: bytes, policy: DataPolicy) -> Envelope:
    """Read only the fields of a JSON body that say which model answers it, and by when.

    Raises:
        BadData: it is not JSON.
        InvalidRequest: it is not an object, or one of the fields has the wrong type.
    """
    fields = _fields(body, pa.schema([*_ROUTE, _TIMEOUT]))
    return Envelope(
        fields.get("model"), fields.get("fallback"), _seconds(fields.get("parameters"), policy)
    )


def timeout_of(body: bytes, content_type: str, policy: DataPolicy) -> float:
    """Read only `timeout_s` from a request of any shape, in seconds.

    A body that cannot be read takes the default; reading it whole reports what is wrong.
    """
    if b"timeout_s" not in body and b"\\u" not in body:
        return policy.timeout_s
    try:
        if is_json(content_type):
            return _seconds(_fields(body, pa.schema([_TIMEOUT])).get("parameters"), policy)
        parts = read_parts(body, content_type, policy, UPLOAD_PARTS)
        return _seconds(parts["parameters"].json() if "parameters" in parts else None, policy)
    except ForecastError:
        return policy.timeout_s


def _seconds(parameters: Any, policy: DataPolicy) -> float:
    asked = parameters.get("timeout_s") if isinstance(parameters, dict) else None
    if isinstance(asked, bool) or not isinstance(asked, (int, float)):
        return policy.timeout_s
    return float(asked) if 0 < asked <= policy.max_timeout_s else policy.timeout_s


def _fields(body: bytes, schema: pa.Schema) -> dict[str, Any]:
    if not is_quick(body) and len(body) < _MAX_BLOCK_BYTES:
        return _fields_of_large(body, schema)
    document = read_json(body)
    if not isinstance(document, dict):
        raise InvalidRequest("the body must be a JSON object")
    return document


def _fields_of_large(body: bytes, schema: pa.Schema) -> dict[str, Any]:
    """Read some fields of a JSON object.

    Arrow's parser is iterative and releases the interpreter's lock, so other requests go on.
    """
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
    if found := _FIELD_IN_ERROR.search(reason):
        return InvalidRequest.field(found[1], "has the wrong type, or is sent twice")
    if "Column()" in reason:
        return InvalidRequest("the body must be a JSON object")
    return BadData(f"the body is not JSON: {reason.removeprefix('JSON parse error: ')}")
