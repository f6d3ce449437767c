"""Read the cells of a table as numbers or as missing values."""

import re
from collections.abc import Sequence
from types import NoneType
from typing import Any

import numpy as np

from forecast.core.types import FloatArray

NUMBERS: frozenset[type] = frozenset({int, float, bool, NoneType})

_MARKS = frozenset(
    ["", "na", "n/a", "#n/a", "#na", "<na>", "nan", "nat", "null", "none", "nil"]
    + ["-", "--", "?", "."]
)
_NUMBERS = {
    mark: re.compile(rf"[+-]?(\d+{sign}?\d*|{sign}\d+)(e[+-]?\d+)?", re.IGNORECASE)
    for mark, sign in ((".", r"\."), (",", ","))
}
UNDECIDED = "undecided"
"""Key in the `attrs` of a table: column → row and text of a dot that may group thousands."""

_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+")
_UNGROUPED = re.compile(r".*\..*|[+-]?\d{4,}")
_WORDS = {"true": 1.0, "false": 0.0}


def is_mark(cell: Any) -> bool:
    """Whether a text only says that a number is missing, such as `NA`, `-` or `?`."""
    return type(cell) is str and cell.strip().lower() in _MARKS


def number_of(cell: Any, decimal: str = ".") -> float | None:
    """Read a number; NaN where it is marked as missing, None where the cell holds none.

    Booleans, and the words `true` and `false`, are 1 and 0.
    """
    if cell is None or is_mark(cell):
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
    """Find the first number whose dot may group thousands, unless another cell tells.

    A dot with more or fewer than three digits behind it tells, and so do four digits without one.
    """
    texts = {row: cell.strip() for row, cell in enumerate(cells) if not is_mark(cell)}
    grouped = [row for row, text in texts.items() if _GROUPED.fullmatch(text)]
    others = set(texts.values()) - {texts[row] for row in grouped}
    if not grouped or any(_UNGROUPED.fullmatch(text) for text in others):
        return None
    return grouped[0]


def numbers_of(cells: Sequence[Any], decimal: str = ".") -> tuple[FloatArray, int | None]:
    """Read the numbers of a column [n], and find the first cell that holds none, if any."""
    kinds = set(map(type, cells))
    if kinds <= NUMBERS:
        return np.array(cells, dtype=np.float64), None
    if not kinds <= NUMBERS | {str}:
        return np.empty(0), next(row for row, cell in enumerate(cells) if number_of(cell) is None)
    known = {cell: number_of(cell, decimal) for cell in set(cells)}
    if None in known.values():
        return np.empty(0), next(row for row, cell in enumerate(cells) if known[cell] is None)
    return np.array([known[cell] for cell in cells], dtype=np.float64), None
