"""Bytes of a file → a table: CSV, JSON, XLSX, Parquet and Arrow, within limits."""

import csv
import re
from collections.abc import Callable, Set
from enum import StrEnum
from io import BytesIO, TextIOWrapper
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from forecast.core.errors import BadData, ForecastError, TooLarge, UnsupportedFormat
from forecast.data.arrow_files import read_arrow, read_parquet
from forecast.data.cells import UNDECIDED, first_grouped, numbers_of
from forecast.data.compression import refuse_packed, unpacked
from forecast.data.policy import DataPolicy
from forecast.data.validation import read_json
from forecast.data.workbooks import read_workbook


class FileFormat(StrEnum):
    """What kinds of files are read."""

    CSV = "CSV"
    JSON = "JSON"
    XLSX = "XLSX"
    PARQUET = "Parquet"
    ARROW = "Arrow"


_SUFFIXES = {
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.CSV,
    ".txt": FileFormat.CSV,
    ".json": FileFormat.JSON,
    ".xlsx": FileFormat.XLSX,
    ".parquet": FileFormat.PARQUET,
    ".pq": FileFormat.PARQUET,
    ".arrow": FileFormat.ARROW,
    ".arrows": FileFormat.ARROW,
    ".feather": FileFormat.ARROW,
    ".ipc": FileFormat.ARROW,
}
_MEDIA_TYPES = {
    "text/csv": FileFormat.CSV,
    "text/tab-separated-values": FileFormat.CSV,
    "application/csv": FileFormat.CSV,
    "text/plain": FileFormat.CSV,
    "application/json": FileFormat.JSON,
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": FileFormat.XLSX,
    "application/vnd.apache.parquet": FileFormat.PARQUET,
    "application/vnd.apache.arrow.file": FileFormat.ARROW,
    "application/vnd.apache.arrow.stream": FileFormat.ARROW,
}
_OWN_PACKING = {
    FileFormat.XLSX: "a zip archive or a workbook",
    FileFormat.PARQUET: "a Parquet file",
    FileFormat.ARROW: "an Arrow file",
}
_UTF8_MARK = b"\xef\xbb\xbf"
_MARKS = {  # the longest first: one begins with another
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_DECIMAL_COMMA = r"\s*[+-]?\d+,\d+\s*"
_GROUP = re.compile(rb"\d\.\d{3}\s*[;\r\n]")
_WHOLE_NUMBER = re.compile(r"-?\d{1,19}", re.ASCII)


def format_of(name: str, media_type: str = "") -> FileFormat:
    """Tell the format by a file's name, or else by its media type.

    Raises:
        UnsupportedFormat: neither is known; lists what is.
    """
    suffix = PurePosixPath(name.lower().removesuffix(".gz")).suffix
    found = _SUFFIXES.get(suffix) or _MEDIA_TYPES.get(media_type.partition(";")[0].strip().lower())
    if found is None:
        kind = f"files ending in {suffix!r}" if suffix else "files of unknown format"
        raise UnsupportedFormat(
            f"{kind} cannot be read; send one ending in .csv, .json, .xlsx, .parquet or .arrow"
        )
    return found


def read_frame(
    body: bytes, file_format: FileFormat, policy: DataPolicy, text: frozenset[str] = frozenset()
) -> pd.DataFrame:
    """Read a file into a table.

    Args:
        text: columns whose values stay text where the format (CSV) does not tell types: `007`
            is not 7, `NA` is not missing.

    Raises:
        BadData: the file is broken or empty; names the format.
        TooLarge: it has more rows, columns or decompressed bytes than allowed.
    """
    if not body:
        raise BadData(f"the {file_format} file is empty")
    try:
        body = unpacked(body, policy.max_decompressed_bytes)
        refuse_packed(body, own=_OWN_PACKING.get(file_format))
        frame = _READERS[file_format](body, policy, text)
    except ForecastError:
        raise
    except MemoryError as error:
        raise TooLarge(f"the {file_format} file needs more memory than there is") from error
    except Exception as error:
        raise BadData(
            f"the file cannot be read as {file_format}; it may be broken, or of another format"
        ) from error
    if frame.columns.has_duplicates:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise BadData(f"the {file_format} file has two columns named {str(twice)!r}")
    if frame.empty:
        raise BadData(f"the {file_format} file holds no rows")
    return frame


def check_table_size(rows: int, columns: int, policy: DataPolicy) -> None:
    """Refuse a table that is larger than allowed."""
    if rows > policy.max_rows:
        raise TooLarge(f"the data have {rows} rows; at most {policy.max_rows} are allowed")
    if columns > policy.max_columns:
        raise TooLarge(f"the data have {columns} columns; at most {policy.max_columns} are allowed")


def _utf8(body: bytes) -> bytes:
    """Write text in UTF-8: it was that, UTF-16 or UTF-32 with a mark, or Windows-1252.

    Raises:
        BadData: it is none of them.
    """
    for mark, encoding in _MARKS.items():
        if body.startswith(mark):
            try:
                return body.decode(encoding).encode()
            except UnicodeDecodeError as error:
                raise BadData(f"the file is not the {encoding} that its first bytes say") from error
    if b"\0" in body:
        raise BadData(
            "the file is not text, or is UTF-16 or UTF-32 without its byte order mark; save it as"
            " UTF-8"
        )
    try:
        body.decode()
    except UnicodeDecodeError:
        return body.decode("cp1252", errors="replace").encode()
    return body.removeprefix(_UTF8_MARK)


def _read_csv(body: bytes, policy: DataPolicy, text: frozenset[str]) -> pd.DataFrame:
    body = _utf8(body)
    header = body.lstrip(b"\r\n").partition(b"\n")[0]
    delimiter = max((b",", b";", b"\t"), key=header.count).decode()
    rows = max(body.count(b"\n"), body.count(b"\r"))
    check_table_size(rows, header.count(delimiter.encode()) + 1, policy)
    try:
        _refuse_uneven_rows(body, delimiter)
    except csv.Error as error:  # such as a quote that is never closed
        raise BadData(f"the CSV file cannot be read: {error}; check its quotes") from error
    frame, decimal = _parsed_csv(body, delimiter, text), "."
    if delimiter != "," and any(_has_decimal_commas(frame[name]) for name in _untyped(frame, text)):
        frame, decimal = _parsed_csv(body, delimiter, text, ","), ","
    for name in _untyped(frame, text):
        numbers, wrong = numbers_of(frame[name].where(frame[name].notna(), None).tolist(), decimal)
        if wrong is None and np.isfinite(numbers).any():
            frame[name] = numbers
    if (delimiter, decimal) == (";", "."):
        frame.attrs[UNDECIDED] = _undecided(body, frame)
    return frame


def _refuse_uneven_rows(body: bytes, delimiter: str) -> None:
    """Refuse names that stand twice, and rows of more cells than there are names.

    Parsers drop what is too much: `2026-01-01,1,234` would be 1. Empty cells at the end do no harm.
    """
    rows = csv.reader(
        TextIOWrapper(BytesIO(body), encoding="utf-8", newline=""), delimiter=delimiter
    )
    names = next((row for row in rows if row), [])
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise BadData(f"the CSV file has two columns named {twice!r}")
    for row in rows:
        if len(row) > len(names) and any(cell.strip() for cell in row[len(names) :]):
            raise BadData(
                f"line {rows.line_num} of the CSV file has {len(row)} cells, but there are"
                f" {len(names)} columns; quote cells that hold a {_SEPARATORS[delimiter]}"
            )


def _undecided(body: bytes, frame: pd.DataFrame) -> dict[str, tuple[int, str]]:
    """Find the columns of a file with semicolons whose dots may group thousands."""
    floats = [name for name in frame.columns if frame[name].dtype.kind == "f"]
    if not (floats and _GROUP.search(body)):
        return {}
    texts = _parsed_csv(body, ";", frozenset(frame.columns)).fillna("")
    found = {name: first_grouped(texts[name].tolist()) for name in floats}
    return {name: (row, texts[name][row]) for name, row in found.items() if row is not None}


def _parsed_csv(
    body: bytes, delimiter: str, text: frozenset[str], decimal: str = "."
) -> pd.DataFrame:
    options: dict[str, Any] = {"sep": delimiter, "encoding": "utf-8", "keep_default_na": False}
    names = pd.read_csv(BytesIO(body), nrows=0, **options).columns
    frame: pd.DataFrame = pd.read_csv(
        BytesIO(body),
        dtype={name: str for name in names if name in text},
        na_values=[""],
        float_precision="round_trip" if decimal == "." else None,
        decimal=decimal,
        index_col=False,
        low_memory=False,
        **options,
    )
    return frame


def _untyped(frame: pd.DataFrame, text: frozenset[str]) -> list[str]:
    """Name the columns that hold something other than numbers, and are not said to be text."""
    return [name for name in frame.columns if frame[name].dtype == object and name not in text]


def _has_decimal_commas(column: "pd.Series[Any]") -> bool:
    return bool(column.str.fullmatch(_DECIMAL_COMMA).fillna(value=False).any())


def _read_json(body: bytes, policy: DataPolicy, text: frozenset[str]) -> pd.DataFrame:
    return frame_of_document(read_json(_utf8(body)), policy, text)


def frame_of_document(document: Any, policy: DataPolicy, names: Set[str]) -> pd.DataFrame:
    """Make a table of JSON: columns or rows, in any layout of pandas that names its columns.

    Args:
        names: some of the columns; they tell columns of rows from rows of columns.

    Raises:
        BadData: the document is not a table; the message says how to write one.
        TooLarge: more rows or columns than allowed.
    """
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        if isinstance(document.get("columns"), list):
            frame = _frame_of_split(document["columns"], document["data"], policy)
            return _with_index(frame, document.get("index"))
        if isinstance(document.get("schema"), dict):
            document = document["data"]
    if isinstance(document, dict) and document:
        inner = list(document.values())
        if not all(isinstance(column, dict) for column in inner):
            return frame_of_columns(document, policy)
        if names & document.keys() or not names & inner[0].keys():
            labels = list(dict.fromkeys(row for column in inner for row in column))
            listed = _listed(document, labels, policy)
            return _with_index(frame_of_columns(listed, policy), labels)
        return _with_index(frame_of_document(inner, policy, names), list(document))
    if not (isinstance(document, list) and all(isinstance(row, dict) for row in document)):
        raise BadData(
            "a JSON table is an object of columns, a list of rows, or what pandas writes with the"
            " names of columns: orient columns, index, records, split or table"
        )
    columns = list(dict.fromkeys(name for row in document for name in row))
    check_table_size(len(document), len(columns), policy)
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in document], dtype=object) for name in columns}
    )


def _listed(
    columns: dict[str, dict[str, Any]], rows: list[str], policy: DataPolicy
) -> dict[str, Any]:
    """List the values of columns that are sent by the labels of their rows."""
    check_table_size(len(rows), len(columns), policy)
    return {name: [column.get(row) for row in rows] for name, column in columns.items()}


def _with_index(frame: pd.DataFrame, labels: Any) -> pd.DataFrame:
    """Add the labels of rows as the column `index`, which is what pandas calls them.

    Labels that only number the rows are none. JSON writes all labels as text, numbers too.
    """
    if not isinstance(labels, list) or len(labels) != len(frame) or "index" in frame.columns:
        return frame
    if all(isinstance(label, str) and _WHOLE_NUMBER.fullmatch(label) for label in labels):
        labels = [int(label) for label in labels]
    if labels == list(range(len(labels))):
        return frame
    return frame.assign(index=pd.Series(labels, dtype=object, index=frame.index))


def _frame_of_split(names: list[Any], rows: list[Any], policy: DataPolicy) -> pd.DataFrame:
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        raise BadData(f"each row under data must be a list of {len(names)} values, one a column")
    if len(set(map(str, names))) < len(names):
        raise BadData("two columns have the same name")
    check_table_size(len(rows), len(names), policy)
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return frame_of_columns(
        {str(name): list(column) for name, column in zip(names, columns, strict=True)}, policy
    )


def frame_of_columns(columns: dict[str, Any], policy: DataPolicy) -> pd.DataFrame:
    """Make a table of named lists; values stay as they are.

    Raises:
        BadData: a column is no list, or the lists differ in length.
        TooLarge: more rows or columns than allowed.
    """
    lengths: dict[str, int] = {}
    for name, values in columns.items():
        if not isinstance(values, list):
            raise BadData(f"column {name!r} must be a list of values")
        lengths[name] = len(values)
    if len(set(lengths.values())) > 1:
        longest, shortest = max(lengths, key=lengths.__getitem__), min(lengths, key=lengths.get)  # type: ignore[arg-type]
        raise BadData(
            f"the columns differ in length: {longest!r} has {lengths[longest]} values,"
            f" {shortest!r} has {lengths[shortest]}"
        )
    check_table_size(max(lengths.values(), default=0), len(columns), policy)
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def _read_xlsx(body: bytes, policy: DataPolicy, text: frozenset[str]) -> pd.DataFrame:  # noqa: ARG001
    return frame_of_columns(read_workbook(body, policy), policy)


_READERS: dict[FileFormat, Callable[[bytes, DataPolicy, frozenset[str]], pd.DataFrame]] = {
    FileFormat.CSV: _read_csv,
    FileFormat.JSON: _read_json,
    FileFormat.XLSX: _read_xlsx,
    FileFormat.PARQUET: lambda body, policy, _: read_parquet(body, policy),
    FileFormat.ARROW: lambda body, policy, _: read_arrow(body, policy),
}
