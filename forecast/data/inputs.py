"""Series sent inline → Series."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np

from forecast.core.clock import LocalTimes
from forecast.core.errors import BadData, InvalidRequest, TooLarge
from forecast.core.frequency import Frequency
from forecast.core.types import CovariateArray, FloatArray, Series, is_categorical
from forecast.core.validation import excerpt, member
from forecast.data.inline import MAX_CATEGORY, SeriesInput
from forecast.data.policy import DataPolicy
from forecast.data.time_axis import (
    TimeAxis,
    axis_from_start,
    axis_from_times,
    check_horizon,
    check_increasing,
    frequency,
    inferred,
)
from forecast.data.times import read_times

_NUMBERS = frozenset({int, float, bool})
_NUMBERS_OR_NULL = _NUMBERS | {NoneType}


@dataclass(frozen=True, slots=True)
class SeriesBatch:
    """Series as read; a series has names of channels where a list per channel was sent.

    Attributes:
        warnings: what was done to the data.
    """

    series: tuple[Series, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ahead:
    """How many values a covariate that is known ahead has after the last step of its series.

    Attributes:
        least: fewer than the horizon only where the series is yet to be cut.
    """

    horizon: int
    least: int

    @classmethod
    def of(cls, horizon: int, *, is_to_be_cut: bool) -> "Ahead":
        return cls(horizon, 0 if is_to_be_cut else horizon)

    def is_covered_by(self, count: int) -> bool:
        return self.least <= count <= self.horizon

    def __str__(self) -> str:
        if self.least == self.horizon:
            return f"{self.horizon}, the horizon"
        return f"at most {self.horizon}, the horizon"


def batch_of_inputs(
    inputs: Sequence[SeriesInput],
    horizon: int,
    policy: DataPolicy,
    *,
    is_to_be_cut: bool = False,
) -> SeriesBatch:
    """Make series of inline ones.

    Args:
        is_to_be_cut: a series may then end before what is known ahead covers the horizon.

    Raises:
        BadData: a target is empty.
        InvalidRequest: names the field that is wrong, and the length expected of a covariate.
        TooLarge: more series or points than allowed.
    """
    check_series_count(len(inputs), policy)
    read: list[Series] = []
    warnings: list[str] = []
    budget = policy.max_points
    ahead = Ahead.of(horizon, is_to_be_cut=is_to_be_cut)
    timed = _timed(inputs)
    for index, sent in enumerate(inputs):
        item_id = sent.item_id if sent.item_id is not None else str(index)
        pointer = f"/inputs/{index}"
        target, has_channels = _target(sent.target, f"{pointer}/target", item_id)
        axis = _axis(sent, timed.get(index), target.shape[1], pointer, budget)
        check_horizon(axis, horizon, f"{pointer}/{'start' if sent.start else 'timestamps'}")
        series = Series(
            target=axis.spread(target),
            item_id=item_id,
            channels=tuple(map(str, range(len(target)))) if has_channels else (),
            start=axis.start,
            freq=axis.freq,
            clock=axis.clock,
            label=sent.label,
            **_covariates(sent, pointer, axis, target.shape[1], ahead),
        )
        budget -= series.target.size
        check_budget(budget, policy)
        read.append(series)
        warnings.extend(axis.notes(f"series {item_id!r}"))
    _check_unique(read)
    return SeriesBatch(tuple(read), tuple(warnings))


def check_series_count(count: int, policy: DataPolicy) -> None:
    if count > policy.max_series:
        raise TooLarge(f"{count} series are sent; at most {policy.max_series} are allowed")


def check_budget(points_left: int, policy: DataPolicy) -> None:
    if points_left < 0:
        raise TooLarge(f"the series hold more than {policy.max_points} values; send fewer")


def _check_unique(series: Sequence[Series]) -> None:
    seen: set[str] = set()
    for index, one in enumerate(series):
        if one.item_id in seen:
            raise InvalidRequest.field(
                f"/inputs/{index}/item_id", f"item_id {one.item_id!r} is used twice"
            )
        seen.add(one.item_id)


def _covariates(
    sent: SeriesInput, pointer: str, axis: TimeAxis, length: int, ahead: Ahead
) -> dict[str, Any]:
    past = {
        name: axis.spread(_past(name, values, length, pointer))
        for name, values in sent.past_covariates.items()
    }
    return {
        "past_covariates": past,
        "future_covariates": {
            name: _future(name, values, ahead, past.get(name), pointer)
            for name, values in sent.future_covariates.items()
        },
        "static_covariates": {
            name: static_value(value, member(pointer, "static_covariates", name))
            for name, value in sent.static_covariates.items()
        },
    }


def _target(values: Any, pointer: str, item_id: str) -> tuple[FloatArray, bool]:
    """Read [C, T], and whether it was sent as a list per channel."""
    if type(values) is list and not values:
        raise BadData(f"the target of series {item_id!r} is empty; there is nothing to forecast")
    if not (type(values) is list and type(values[0]) is list):
        return number_array(values, pointer)[None, :], False
    channels = [number_array(channel, f"{pointer}/{c}") for c, channel in enumerate(values)]
    expected = len(channels[0])
    if not expected:
        raise BadData(f"the target of series {item_id!r} is empty; there is nothing to forecast")
    for index, channel in enumerate(channels):
        if len(channel) != expected:
            raise InvalidRequest.field(
                f"{pointer}/{index}",
                f"has {len(channel)} values; expected {expected}, as in the first channel",
            )
    return np.stack(channels), True


def _axis(
    sent: SeriesInput, timed: "_Timed | None", length: int, pointer: str, most: int
) -> TimeAxis:
    if timed is None:
        return axis_from_start(sent.start, sent.freq, length, pointer)
    where = f"{pointer}/timestamps"
    if len(timed.times.wall) != length:
        raise InvalidRequest.field(
            where,
            f"has {len(timed.times.wall)} timestamps; expected {length}, one a value of the target",
        )
    check_increasing(timed.times, where)
    if isinstance(timed.freq, InvalidRequest):
        raise timed.freq
    return axis_from_times(timed.times, timed.freq, where, most=most)


@dataclass(frozen=True, slots=True, eq=False)
class _Timed:
    """The timestamps of a series, and its frequency as sent or inferred, or why it has none."""

    times: LocalTimes
    freq: str | Frequency | InvalidRequest


def _timed(inputs: Sequence[SeriesInput]) -> dict[int, _Timed]:
    """Read timestamps; series that do not tell a frequency have that of all that send none."""
    times = {
        index: _times(sent, f"/inputs/{index}")
        for index, sent in enumerate(inputs)
        if sent.timestamps is not None
    }
    found = {
        index: inputs[index].freq or _inferred([local], f"/inputs/{index}/timestamps")
        for index, local in times.items()
    }
    if any(isinstance(freq, InvalidRequest) for freq in found.values()):
        untold = [local for index, local in times.items() if inputs[index].freq is None]
        shared = _inferred(untold, "/inputs")
        if isinstance(shared, Frequency):
            found = {
                index: shared if isinstance(freq, InvalidRequest) else freq
                for index, freq in found.items()
            }
    return {index: _Timed(local, found[index]) for index, local in times.items()}


def _inferred(parts: Sequence[LocalTimes], pointer: str) -> Frequency | InvalidRequest:
    try:
        return inferred(parts, pointer)
    except InvalidRequest as error:
        return error


def _times(sent: SeriesInput, pointer: str) -> LocalTimes:
    if sent.start is not None:
        raise InvalidRequest.field(f"{pointer}/start", "send either start or timestamps, not both")
    if sent.freq is not None:
        frequency(sent.freq, pointer)
    return read_times(sent.timestamps, f"{pointer}/timestamps")


def _past(name: str, values: Any, expected: int, pointer: str) -> CovariateArray:
    where = member(pointer, "past_covariates", name)
    array = covariate_array(values, where)
    if len(array) != expected:
        raise InvalidRequest.field(
            where,
            f"covariate {name!r} has {len(array)} past values;"
            f" expected {expected}, the length of the target",
        )
    return array


def _future(
    name: str, values: Any, ahead: Ahead, past: CovariateArray | None, pointer: str
) -> CovariateArray:
    where = member(pointer, "future_covariates", name)
    array = covariate_array(values, where)
    if past is None:
        raise InvalidRequest.field(
            where, f"send the past values of covariate {name!r} under past_covariates"
        )
    if not ahead.is_covered_by(len(array)):
        raise InvalidRequest.field(
            where, f"covariate {name!r} has {len(array)} future values; expected {ahead}"
        )
    if not values:
        return past[:0]
    if None in values:
        raise InvalidRequest.field(
            member(where, values.index(None)), "a covariate known ahead needs a value at each step"
        )
    if is_categorical(array) != is_categorical(past):
        raise InvalidRequest.field(
            where, f"covariate {name!r} is text in its past or its future, and numbers in the other"
        )
    return array


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
        if value is not None and len(value) > MAX_CATEGORY:
            raise InvalidRequest.field(
                member(pointer, index), f"is longer than {MAX_CATEGORY} characters"
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
