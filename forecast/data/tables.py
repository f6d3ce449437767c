"""Tables in long format: the role of each column, and columns as arrays."""

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, WithJsonSchema

from forecast.core.clock import LocalTimes
from forecast.core.errors import InvalidRequest
from forecast.core.labels import Label
from forecast.core.types import CovariateArray, FloatArray, is_categorical
from forecast.core.validation import WireModel, excerpt
from forecast.data.inline import LABEL_FIELD, MAX_CATEGORY, Parameters
from forecast.data.text_files import AMBIGUOUS, NUMBERS, is_missing_mark, numbers_of
from forecast.data.times import times_of_column

_CELL = {"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "boolean"}, {"type": "null"}]}
_BY_ROW = {"type": "object", "additionalProperties": _CELL}
Table = Annotated[
    dict[str, Any] | list[Any],
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": "array", "items": _CELL}},
                {"type": "object", "additionalProperties": _BY_ROW},
                {"type": "array", "items": _BY_ROW},
            ]
        }
    ),
]


class TableSchema(WireModel):
    """Which column of a table or file is what. Columns that are not named are not used."""

    timestamp: str | None = Field(
        None, description="Column of ISO 8601 times; without it rows count in their order."
    )
    item_id: str | None = Field(
        None, description="Column that tells series apart; without it the table is one series."
    )
    target: str | list[str] = Field(
        description="Column to forecast; a list of columns for a model that forecasts several"
        " targets together.",
        examples=["sales", ["sales", "returns"]],
    )
    past_covariates: list[str] = Field([], description="Columns known in the past only.")
    future_covariates: list[str] = Field(
        [],
        description="Columns known ahead: each item has exactly `horizon` rows after its last"
        " observed target.",
    )
    static_covariates: list[str] = Field([], description="Columns that are constant for each item.")
    freq: str | None = Field(
        None, description="Pandas offset alias; inferred from the times by default."
    )
    label: Label | None = LABEL_FIELD

    @property
    def names(self) -> frozenset[str]:
        """All columns that are named."""
        one = (self.timestamp, self.item_id, *self.targets)
        known = (*self.past_covariates, *self.future_covariates, *self.static_covariates)
        return frozenset(name for name in (*one, *known) if name is not None)

    @property
    def targets(self) -> list[str]:
        return [self.target] if isinstance(self.target, str) else self.target


class TableRequest(WireModel):
    """Forecast the items of a table."""

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "data": {
                        "store": ["a", "a", "a", "a", "b", "b", "b", "b"],
                        "day": ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"] * 2,
                        "sales": [12, 15, 14, 19, 3, 2, 4, 4],
                    },
                    "schema": {"timestamp": "day", "item_id": "store", "target": "sales"},
                    "parameters": {"horizon": 2},
                }
            ]
        }
    }

    data: Table = Field(
        description="Column → its values, one a row; all of one length. Or a list of rows, or what"
        " pandas' `to_json` writes with the names of columns."
    )
    schema_: TableSchema = Field(alias="schema", description="Which column is what.")
    parameters: Parameters = Parameters()


class UploadForm(WireModel):
    """The parts of a multipart upload; `schema` and `parameters` are JSON."""

    file: Annotated[str, WithJsonSchema({"type": "string", "format": "binary"})] = Field(
        description="CSV, JSON, XLSX, Parquet or Arrow; told by the ending of its name."
    )
    schema_: TableSchema = Field(alias="schema", description="Which column is what.")
    parameters: Parameters = Parameters()


def number_column(frame: pd.DataFrame, name: str) -> FloatArray:
    """Read a column of numbers; what is missing, or marked so, becomes NaN. [R] float64.

    Raises:
        InvalidRequest: a value is not a finite number; names the first such row.
    """
    if ambiguous := frame.attrs.get(AMBIGUOUS, {}).get(name):
        row, cell = ambiguous
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
    is_marked = len(texts) < len(values) and all(map(is_missing_mark, texts))
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
        if text is not None and len(text) > MAX_CATEGORY:
            raise _row_error(name, row, f"is longer than {MAX_CATEGORY} characters")
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


def constant_of(values: CovariateArray, name: str, owner: str, pointer: str) -> float | str:
    """Return the one value of a static column, missing values aside.

    Raises:
        InvalidRequest: `owner`, a series or file, has none or several; points at `pointer`.
    """
    present = values[values != ""] if is_categorical(values) else values[~np.isnan(values)]
    different = np.unique(present)
    if len(different) != 1:
        some = f", not {excerpt(list(map(str, different[:3])))}" if len(different) else ""
        raise InvalidRequest.field(
            pointer,
            f"static column {name!r} has {len(different)} values for {owner}; expected one{some}",
        )
    return str(different[0]) if is_categorical(values) else float(different[0])
