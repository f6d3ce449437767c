"""Bytes of a file → a table: CSV, JSON, XLSX, Parquet and Arrow, within limits."""

from collections.abc import Callable
from enum import StrEnum
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from forecast.core.errors import BadData, ForecastError, TooLarge, UnsupportedFormat
from forecast.data.arrow_files import read_arrow, read_parquet
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
_MISSING = ["", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None"]


def format_of(name: str, media_type: str = "") -> FileFormat:
    """Tell the format by a file's name, or else by its media type.

    Raises:
        UnsupportedFormat: neither is known; lists what is.
    """
    suffix = PurePosixPath(name).suffix.lower()
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


def _read_csv(body: bytes, policy: DataPolicy, text: frozenset[str]) -> pd.DataFrame:
    body = body.removeprefix(b"\xef\xbb\xbf")
    header = body.lstrip(b"\r\n").partition(b"\n")[0]
    delimiter = max((b",", b";", b"\t"), key=header.count).decode()
    rows = max(body.count(b"\n"), body.count(b"\r"))
    check_table_size(rows, header.count(delimiter.encode()) + 1, policy)
    options: dict[str, Any] = {"sep": delimiter, "encoding": "utf-8", "keep_default_na": False}
    names = pd.read_csv(BytesIO(body), nrows=0, **options).columns
    frame: pd.DataFrame = pd.read_csv(
        BytesIO(body),
        dtype={name: str for name in names if name in text},
        na_values={name: [""] if name in text else _MISSING for name in names},
        float_precision="round_trip",
        index_col=False,
        low_memory=False,
        **options,
    )
    return frame


def _read_json(body: bytes, policy: DataPolicy, text: frozenset[str]) -> pd.DataFrame:  # noqa: ARG001
    document = read_json(body)
    if isinstance(document, dict):
        return frame_of_columns(document, policy)
    if not (isinstance(document, list) and all(isinstance(row, dict) for row in document)):
        raise BadData("a JSON file holds a list of rows, or an object of columns; this does not")
    names = list(dict.fromkeys(name for row in document for name in row))
    check_table_size(len(document), len(names), policy)
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in document], dtype=object) for name in names}
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
