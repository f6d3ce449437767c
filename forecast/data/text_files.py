"""CSV and JSON files → tables, and cells of text → numbers."""

import csv
import re
from collections.abc import Sequence, Set
from io import BytesIO, TextIOWrapper
from types import NoneType
from typing import Any

import numpy as np
import pandas as pd

from forecast.core.errors import BadData
from forecast.core.types import FloatArray
from forecast.core.validation import read_json
from forecast.data.policy import DataPolicy

NUMBERS: frozenset[type] = frozenset({int, float, bool, NoneType})

_MISSING_MARKS = frozenset(
    ["", "na", "n/a", "#n/a", "#na", "<na>", "nan", "nat", "null", "none", "nil"]
    + ["-", "--", "?", "."]
)
_NUMBERS = {
    mark: re.compile(rf"[+-]?(\d+{sign}?\d*|{sign}\d+)(e[+-]?\d+)?", re.IGNORECASE)
    for mark, sign in ((".", r"\."), (",", ","))
}
AMBIGUOUS = "ambiguous"
"""Key in the `attrs` of a table: column → row and text of a dot that may group thousands."""

_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+")
_UNGROUPED = re.compile(r".*\..*|[+-]?\d{4,}")
_WORDS = {"true": 1.0, "false": 0.0}
_UTF8_MARK = b"\xef\xbb\xbf"
_BYTE_ORDER_MARKS = {  # the longest first: one begins with another
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_DECIMAL_COMMA = r"\s*[+-]?\d+,\d+\s*"
_GROUP = re.compile(rb"\d\.\d{3}\s*[;\r\n]")
_WHOLE_NUMBER = re.compile(r"-?\d{1,19}", re.ASCII)


def _utf8(body: bytes) -> bytes:
    """Convert text to UTF-8 from UTF-16 or UTF-32 with a byte order mark, or Windows-1252.

    Raises:
        BadData: it is in no such encoding.
    """
    for mark, encoding in _BYTE_ORDER_MARKS.items():
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


def read_csv(body: bytes, policy: DataPolicy, text: frozenset[str]) -> pd.DataFrame:
    """Read a CSV file separated by commas, semicolons or tabs; see `read_frame`."""
    body = _utf8(body)
    header = body.lstrip(b"\r\n").partition(b"\n")[0]
    delimiter = max((b",", b";", b"\t"), key=header.count).decode()
    rows = max(body.count(b"\n"), body.count(b"\r"))
    policy.check_table(rows, header.count(delimiter.encode()) + 1)
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
        frame.attrs[AMBIGUOUS] = _ambiguous(body, frame)
    return frame


def _refuse_uneven_rows(body: bytes, delimiter: str) -> None:
    """Refuse repeated names, and rows with more cells than there are names.

    Parsers drop the excess: `2026-01-01,1,234` would be read as 1. Empty cells at the end are fine.
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


def _ambiguous(body: bytes, frame: pd.DataFrame) -> dict[str, tuple[int, str]]:
    """Find the columns of a semicolon-separated file whose dots may group thousands."""
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
    """List the columns that are not all numbers and not declared as text."""
    return [name for name in frame.columns if frame[name].dtype == object and name not in text]


def _has_decimal_commas(column: "pd.Series[Any]") -> bool:
    return bool(column.str.fullmatch(_DECIMAL_COMMA).fillna(value=False).any())


def read_json_table(body: bytes, policy: DataPolicy, text: frozenset[str]) -> pd.DataFrame:
    """Read a JSON file; see `frame_of_document`."""
    return frame_of_document(read_json(_utf8(body)), policy, text)


def frame_of_document(document: Any, policy: DataPolicy, names: Set[str]) -> pd.DataFrame:
    """Make a table of JSON columns or rows, in any pandas layout that names the columns.

    Args:
        names: some of the columns; they tell a table by column from one by row.

    Raises:
        BadData: the document is not a table; says how to write one.
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
            policy.check_table(len(labels), len(document))
            listed = {name: list(map(column.get, labels)) for name, column in document.items()}
            return _with_index(frame_of_columns(listed, policy), labels)
        return _with_index(frame_of_document(inner, policy, names), list(document))
    if not (isinstance(document, list) and all(isinstance(row, dict) for row in document)):
        raise BadData(
            "a JSON table is an object of columns, a list of rows, or what pandas writes with the"
            " names of columns: orient columns, index, records, split or table"
        )
    columns = list(dict.fromkeys(name for row in document for name in row))
    policy.check_table(len(document), len(columns))
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in document], dtype=object) for name in columns}
    )


def _with_index(frame: pd.DataFrame, labels: Any) -> pd.DataFrame:
    """Add the row labels as a column named `index`, as pandas does.

    Labels that only number the rows are left out. JSON has all labels as text, numbers too.
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
    policy.check_table(len(rows), len(names))
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
    policy.check_table(max(lengths.values(), default=0), len(columns))
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def is_missing_mark(cell: Any) -> bool:
    """Whether a text stands for a missing number, such as `NA`, `-` or `?`."""
    return type(cell) is str and cell.strip().lower() in _MISSING_MARKS


def number_of(cell: Any, decimal: str = ".") -> float | None:
    """Read a cell as a number: NaN where it is missing, None where it is not a number.

    Booleans, and the words `true` and `false`, are 1 and 0.
    """
    if cell is None or is_missing_mark(cell):
        return float("nan")
    if type(cell) in NUMBERS:
        return float(cell)
    if type(cell) is not str:
        return None
    text = cell.strip()
    if _NUMBERS[decimal].fullmatch(text):
        return float(text.replace(",", "."))
    return _WORDS.get(text.lower())


def first_grouped(cells: Sequence[str]) -> int | None:
    """Find the first number whose dot may group thousands, unless another cell rules that out.

    A dot followed by more or fewer than three digits does, and so do four digits without a dot.
    """
    texts = {row: cell.strip() for row, cell in enumerate(cells) if not is_missing_mark(cell)}
    grouped = [row for row, text in texts.items() if _GROUPED.fullmatch(text)]
    others = set(texts.values()) - {texts[row] for row in grouped}
    if not grouped or any(_UNGROUPED.fullmatch(text) for text in others):
        return None
    return grouped[0]


def numbers_of(cells: Sequence[Any], decimal: str = ".") -> tuple[FloatArray, int | None]:
    """Read a column as numbers [n]; also return the first row that is not a number, if any."""
    kinds = set(map(type, cells))
    if kinds <= NUMBERS:
        return np.array(cells, dtype=np.float64), None
    if not kinds <= NUMBERS | {str}:
        return np.empty(0), next(row for row, cell in enumerate(cells) if number_of(cell) is None)
    known = {cell: number_of(cell, decimal) for cell in set(cells)}
    if None in known.values():
        return np.empty(0), next(row for row, cell in enumerate(cells) if known[cell] is None)
    return np.array([known[cell] for cell in cells], dtype=np.float64), None
