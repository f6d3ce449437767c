"""Multipart uploads: a file and, as JSON, what is in it."""

from collections.abc import Sequence
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

PARTS = ("file", "schema", "parameters")
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
class Part:
    """One part of a multipart body.

    Attributes:
        headers: name in lower case → value.
    """

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

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", b"").decode("latin-1")

    def json(self) -> Any:
        """Read it as JSON.

        Raises:
            BadData: it is not JSON.
            TooLarge: it is larger than JSON beside a file may be.
        """
        if len(self.body) > _MAX_JSON_BYTES:
            raise TooLarge(f"the part {self.name!r} is larger than {_MAX_JSON_BYTES} bytes")
        try:
            return read_json(bytes(self.body))
        except BadData as error:
            raise BadData(f"the part {self.name!r} must hold JSON: {error.detail}") from error


def read_upload(body: bytes, content_type: str, policy: DataPolicy) -> Upload:
    """Take a multipart/form-data body apart.

    Raises:
        BadData: the body is broken, or its JSON is.
        InvalidRequest: a part is missing, unknown, sent twice or wrong; points at the part.
        TooLarge: a part is larger than allowed.
    """
    parts = read_parts(body, content_type, policy, PARTS)
    file = parts["file"]
    return Upload(
        body=bytes(file.body),
        name=file.filename,
        media_type=file.media_type,
        schema=validated(TableSchema, parts["schema"].json(), "/schema"),
        parameters=(
            validated(Parameters, parts["parameters"].json(), "/parameters")
            if "parameters" in parts
            else Parameters()
        ),
    )


def read_parts(
    body: bytes, content_type: str, policy: DataPolicy, known: Sequence[str]
) -> dict[str, Part]:
    """Take a multipart/form-data body apart; each part once, by its name.

    Args:
        known: names of the parts there may be; `file` and `schema` are required.

    Raises:
        BadData: the body is broken.
        InvalidRequest: a part is missing, unknown or sent twice; points at the part.
        TooLarge: a part is larger than allowed, or there are too many.
    """
    parts: dict[str, Part] = {}
    for part in _parts(body, _boundary(content_type), policy, known):
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


def _boundary(content_type: str) -> bytes:
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise BadData("the multipart body has no boundary in its Content-Type")
    return boundary


def _parts(body: bytes, boundary: bytes, policy: DataPolicy, known: Sequence[str]) -> list[Part]:
    collector = _Collector(policy.max_file_bytes, known)
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

    def __init__(self, max_bytes: int, known: Sequence[str]) -> None:
        self.parts: list[Part] = []
        self._known = known
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
        if len(self.parts) == len(self._known) + 1:
            raise TooLarge(f"an upload has the parts {', '.join(self._known)}; this has more")
        self.parts.append(Part())

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
