"""Lists of JSON → arrays. Numbers stay numbers: nothing is converted silently."""

from types import NoneType
from typing import Any

import numpy as np

from forecast.core.errors import InvalidRequest
from forecast.core.types import CovariateArray, FloatArray
from forecast.data.validation import excerpt, member

_NUMBERS = frozenset({int, float, bool})
_NUMBERS_OR_NULL = _NUMBERS | {NoneType}
LONGEST_CATEGORY = 256


def number_array(values: Any, pointer: str) -> FloatArray:
    """Make an array of a list of numbers; null becomes NaN, booleans 1 and 0. [T] float64.

    Raises:
        InvalidRequest: not a list, or something in it is not a finite number.
    """
    if type(values) is not list:
        raise InvalidRequest.field(pointer, f"must be a list of numbers, not {excerpt(values)}")
    if not _NUMBERS_OR_NULL.issuperset(map(type, values)):
        raise _not_a_number(values, pointer)
    array = np.array(values, dtype=np.float64)
    if np.isinf(array).any():
        index = int(np.isinf(array).argmax())
        raise InvalidRequest.field(member(pointer, index), "is too large for a number")
    return array


def _not_a_number(values: list[Any], pointer: str) -> InvalidRequest:
    index, value = next(
        (index, value) for index, value in enumerate(values) if type(value) not in _NUMBERS_OR_NULL
    )
    return InvalidRequest.field(
        member(pointer, index), f"{excerpt(value)} is not a number; write null where one is missing"
    )


def covariate_array(values: Any, pointer: str) -> CovariateArray:
    """Make an array of a covariate: numbers, booleans as 1 and 0, or categories of text.

    Null becomes NaN among numbers, and the category "" among categories.

    Raises:
        InvalidRequest: not a list, of mixed kinds, or a category is too long.
    """
    if type(values) is not list:
        raise InvalidRequest.field(pointer, f"must be a list, not {excerpt(values)}")
    kinds = set(map(type, values)) - {NoneType}
    if kinds == {str}:
        return category_array(values, pointer)
    if str in kinds:
        raise InvalidRequest.field(
            pointer, "mixes kinds of values; send all numbers, all text or all booleans"
        )
    return number_array(values, pointer)


def category_array(values: list[str | None], pointer: str) -> CovariateArray:
    """Make fixed-width strings; null becomes "".

    Raises:
        InvalidRequest: a category is too long.
    """
    for index, value in enumerate(values):
        if value is not None and len(value) > LONGEST_CATEGORY:
            raise InvalidRequest.field(
                member(pointer, index), f"is longer than {LONGEST_CATEGORY} characters"
            )
    return np.array(["" if value is None else value for value in values], dtype=np.str_)


def static_value(value: Any, pointer: str) -> float | str:
    """Read what is constant for a series: a number, 1 or 0 for a boolean, or a category.

    Raises:
        InvalidRequest: it is neither.
    """
    if type(value) is str:
        return str(category_array([value], pointer)[0])
    if type(value) not in _NUMBERS:
        raise InvalidRequest.field(pointer, f"must be a number or text, not {excerpt(value)}")
    return float(number_array([value], pointer)[0])
