"""Columns of a table or file → arrays, with errors that name column and row."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecast.core.clock import LocalTimes
from forecast.core.errors import InvalidRequest
from forecast.core.types import CovariateArray, FloatArray
from forecast.data.arrays import LONGEST_CATEGORY
from forecast.data.cells import NUMBERS, UNDECIDED, is_mark, numbers_of
from forecast.data.times import times_of_column
from forecast.data.validation import excerpt


def number_column(frame: pd.DataFrame, name: str) -> FloatArray:
    """Read a column of numbers; what is missing, or marked so, becomes NaN. [R] float64.

    Raises:
        InvalidRequest: a value is not a finite number; names the first such row.
    """
    if undecided := frame.attrs.get(UNDECIDED, {}).get(name):
        row, cell = undecided
        raise _row_error(
            name,
            row,
            f"{cell!r} may be {cell.replace('.', '')} or {float(cell):g}: where semicolons separate"
            " the columns, a dot may group thousands. Write it without the dot, or separate the"
            " columns by commas: then a dot is a decimal point",
        )
    column = frame[name]
    if column.dtype.kind in "iufb":
        numbers = column.to_numpy(dtype=np.float64)
    else:
        values = _objects(column)
        numbers, wrong = numbers_of(values)
        if wrong is not None:
            raise _row_error(name, wrong, f"{excerpt(values[wrong])} is not a number")
    if np.isinf(numbers).any():
        raise _row_error(name, int(np.isinf(numbers).argmax()), "is infinite or too large")
    return numbers


def covariate_column(frame: pd.DataFrame, name: str) -> CovariateArray:
    """Read a column of numbers and booleans, or of categories where it holds text.

    Raises:
        InvalidRequest: it holds times, or something else that is neither.
    """
    column = frame[name]
    if column.dtype.kind in "iufb":
        return number_column(frame, name)
    values = _objects(column)
    _check_kinds(values, NUMBERS | {str}, name, "text, a number or a boolean")
    texts = [value for value in values if type(value) is str]
    is_marked = len(texts) < len(values) and all(map(is_mark, texts))
    has_numbers = any(type(value) in NUMBERS and value is not None for value in values)
    if not texts or (is_marked and has_numbers):
        return number_column(frame, name)
    return category_column(frame, name)


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
    _check_kinds(values, NUMBERS | {str}, name, "text, a number or a boolean")
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


def time_column(frame: pd.DataFrame, name: str) -> LocalTimes:
    """Read a column of times [R].

    Raises:
        InvalidRequest: a value is missing or not a time; the message names the first row.
    """
    column = frame[name]
    values = [] if column.dtype.kind == "M" else _objects(column)
    return times_of_column(column, values, lambda row, detail: _row_error(name, row, detail))


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
