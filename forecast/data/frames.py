"""Columns of a table or file → arrays, with errors that name column and row."""

from datetime import date, datetime
from types import NoneType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecast.core.errors import InvalidRequest
from forecast.core.frequency import EARLIEST, LATEST, Timestamps
from forecast.core.types import CovariateArray, FloatArray
from forecast.data.arrays import LONGEST_CATEGORY
from forecast.data.validation import excerpt

_NUMBERS: frozenset[type] = frozenset({int, float, NoneType})
_HAS_OFFSET = r"\d:?\d\d(?::\d\d(?:\.\d+)?)?\s*(?:Z|z|[+-]\d\d(?::?\d\d)?)$"


def number_column(frame: pd.DataFrame, name: str) -> FloatArray:
    """Read a column of numbers; what is missing becomes NaN. [R] float64.

    Raises:
        InvalidRequest: a value is not a finite number; names the first such row.
    """
    column = frame[name]
    if column.dtype.kind in "iuf":
        numbers = column.to_numpy(dtype=np.float64)
    else:
        values = _objects(column)
        _check_kinds(values, _NUMBERS, name, "a number")
        numbers = np.array(values, dtype=np.float64)
    if np.isinf(numbers).any():
        raise _row_error(name, int(np.isinf(numbers).argmax()), "is infinite or too large")
    return numbers


def covariate_column(frame: pd.DataFrame, name: str) -> CovariateArray:
    """Read a column of numbers, or of categories where it holds text or booleans.

    Raises:
        InvalidRequest: it mixes both, or holds times.
    """
    column = frame[name]
    if column.dtype.kind in "iuf":
        return number_column(frame, name)
    kinds = set(map(type, _objects(column))) - {NoneType}
    return number_column(frame, name) if kinds <= _NUMBERS else category_column(frame, name)


def category_column(frame: pd.DataFrame, name: str) -> CovariateArray:
    """Read a column of categories, numbers as text; what is missing becomes "". [R] strings.

    Raises:
        InvalidRequest: a category is too long, or a value has no text of its own.
    """
    texts = ["" if text is None else text for text in text_column(frame, name)]
    return np.array(texts, dtype=np.str_)


def text_column(frame: pd.DataFrame, name: str) -> list[str | None]:
    """Read a column as text: whole numbers without a point, booleans as `true` and `false`.

    Raises:
        InvalidRequest: a value is too long, or is neither text, number nor boolean.
    """
    values = _objects(frame[name])
    _check_kinds(values, _NUMBERS | {str, bool}, name, "text, a number or a boolean")
    texts = [_text(value) for value in values]
    for row, text in enumerate(texts):
        if text is not None and len(text) > LONGEST_CATEGORY:
            raise _row_error(name, row, f"is longer than {LONGEST_CATEGORY} characters")
    return texts


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if type(value) is bool:
        return str(value).lower()
    if type(value) is float and value.is_integer():
        return str(int(value))
    return str(value)


def time_column(frame: pd.DataFrame, name: str) -> tuple[Timestamps, bool]:
    """Read a column of times: datetime64[s] [R], and whether they have a UTC offset.

    Raises:
        InvalidRequest: a value is missing or is not an ISO 8601 time; names the first row.
    """
    column = frame[name]
    if column.dtype.kind != "M":
        column = _parsed_times(column, name)
    is_utc = getattr(column.dtype, "tz", None) is not None
    times = (column.dt.tz_convert("UTC").dt.tz_localize(None) if is_utc else column).to_numpy()
    seconds: Timestamps = times.astype("datetime64[s]")
    if np.isnat(times).any():
        raise _row_error(name, int(np.isnat(times).argmax()), "is missing; each row needs a time")
    bad = (seconds != times) | (seconds < EARLIEST) | (seconds >= LATEST)
    if bad.any():
        row = int(bad.argmax())
        raise _row_error(name, row, "must be a whole second in the years 1678 to 2261")
    return seconds, is_utc


def _parsed_times(column: "pd.Series[Any]", name: str) -> "pd.Series[Any]":
    values = _objects(column)
    kinds = set(map(type, values)) - {NoneType}
    if kinds <= {datetime, date, pd.Timestamp}:
        return _datetimes(values, name)
    _check_kinds(values, frozenset({str, NoneType}), name, "an ISO 8601 time as text")
    texts = pd.Series(values, dtype=object)
    aware = texts.str.contains(_HAS_OFFSET, regex=True, na=False)
    if aware.any() and not aware.all():
        raise InvalidRequest(
            f"column {name!r}: some times have a UTC offset and some have none; write all alike"
        )
    parsed = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=bool(aware.any()))
    wrong = parsed.isna() & texts.notna()
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise _row_error(
            name, row, f"{excerpt(values[row])} is not an ISO 8601 time such as 2026-01-31T06:00:00"
        )
    return parsed


def _datetimes(values: list[Any], name: str) -> "pd.Series[Any]":
    try:
        return pd.to_datetime(pd.Series(values, dtype=object))
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidRequest(
            f"column {name!r}: the times must all have a UTC offset or none, and lie in the years"
            " 1678 to 2261"
        ) from error


def _objects(column: "pd.Series[Any]") -> list[Any]:
    """List the values as Python has them, missing ones as None."""
    values: list[Any] = column.astype(object).tolist()
    missing: npt.NDArray[np.bool_] = column.isna().to_numpy()
    if not missing.any():
        return values
    return [None if gone else value for value, gone in zip(values, missing, strict=True)]


def _check_kinds(values: list[Any], kinds: frozenset[type], name: str, wanted: str) -> None:
    if kinds.issuperset(map(type, values)):
        return
    row, value = next((row, value) for row, value in enumerate(values) if type(value) not in kinds)
    raise _row_error(name, row, f"{excerpt(value)} is not {wanted}")


def _row_error(name: str, row: int, detail: str) -> InvalidRequest:
    return InvalidRequest(f"column {name!r}, row {row + 1} of the data: {detail}")
