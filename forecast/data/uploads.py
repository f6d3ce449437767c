"""Multipart uploads: a file and, as JSON, what is in it."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from forecast.core.errors import BadData, FieldError, InvalidRequest, TooLarge
from forecast.data.inline import Parameters
from forecast.data.policy import DataPolicy
from forecast.data.tables import TableSchema
from forecast.data.validation import WireModel, invalid, read_json, validated

_PARTS = ("file", "schema", "parameters")
_MAX_JSON_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """An uploaded file and what the caller says of it.

    Attributes:
        name: the file name the caller gave; only its ending is used.
        media_type: of the file, as the caller gave it, or "".
    """

    body: bytes
    name: str
    media_type: str
    schema: TableSchema
    parameters: Parameters


class UploadForm(WireModel):
    """The parts of a multipart upload; `schema` and `parameters` are JSON."""

    file: Annotated[str, WithJsonSchema({"type": "string", "format": "binary"})] = Field(
        description="CSV, JSON, XLSX, Parquet or Arrow; told by the ending of its name."
    )
    schema_: TableSchema = Field(alias="schema", description="Which column is what.")
    parameters: Parameters = Parameters()


@dataclass(slots=True)
class _Part:
    headers: dict[str, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)

    @property
    def options(self) -> dict[bytes, bytes]:
        return parse_options_header(self.headers.get("content-disposition", b""))[1]

    @property
    def name(self) -> str:
        return self.options.get(b"name", b"").decode("utf-8", "replace")

    @property
    def filename(self) -> str:
        return self.options.get(b"filename", b"").decode("utf-8", "replace")


def read_upload(body: bytes, content_type: str, policy: DataPolicy) -> Upload:
    """Take a multipart/form-data body apart.

    Raises:
        BadData: the body is broken, or its JSON is.
        InvalidRequest: a part is missing, unknown, sent twice or wrong; points at the part.
        TooLarge: a part is larger than allowed.
    """
    parts = _by_name(_parts(body, _boundary(content_type), policy))
    missing = [name for name in ("file", "schema") if name not in parts]
    if missing:
        raise invalid([FieldError(f"/{name}", "this part is required") for name in missing])
    file = parts["file"]
    return Upload(
        body=bytes(file.body),
        name=file.filename,
        media_type=file.headers.get("content-type", b"").decode("latin-1"),
        schema=validated(TableSchema, _json(parts["schema"], "schema"), "/schema"),
        parameters=(
            validated(Parameters, _json(parts["parameters"], "parameters"), "/parameters")
            if "parameters" in parts
            else Parameters()
        ),
    )


def _boundary(content_type: str) -> bytes:
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise BadData("the multipart body has no boundary in its Content-Type")
    return boundary


def _by_name(parts: list[_Part]) -> dict[str, _Part]:
    named: dict[str, _Part] = {}
    for part in parts:
        name = part.name
        if name not in _PARTS:
            raise InvalidRequest.field(f"/{name}", f"unknown part; known are {', '.join(_PARTS)}")
        if name in named:
            raise InvalidRequest.field(f"/{name}", "this part is sent twice")
        named[name] = part
    return named


def _json(part: _Part, name: str) -> Any:
    if len(part.body) > _MAX_JSON_BYTES:
        raise TooLarge(f"the part {name!r} is larger than {_MAX_JSON_BYTES} bytes")
    try:
        return read_json(bytes(part.body))
    except BadData as error:
        raise BadData(f"the part {name!r} must hold JSON: {error.detail}") from error


def _parts(body: bytes, boundary: bytes, policy: DataPolicy) -> list[_Part]:
    collector = _Collector(policy.max_file_bytes)
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
    """Gathers parts as the parser meets them; the parser itself bounds their headers."""

    def __init__(self, max_bytes: int) -> None:
        self.parts: list[_Part] = []
        self.is_complete = False
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
        if len(self.parts) == len(_PARTS) + 1:
            raise TooLarge(f"an upload has the parts {', '.join(_PARTS)}; this has more")
        self.parts.append(_Part())

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
