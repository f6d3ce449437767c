"""Series sent inline → Series."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecast.core.errors import BadData, InvalidRequest, TooLarge
from forecast.core.frequency import Frequency
from forecast.core.types import CovariateArray, FloatArray, Series, is_categorical
from forecast.data.arrays import covariate_array, number_array, static_value
from forecast.data.inline import SeriesInput
from forecast.data.policy import DataPolicy
from forecast.data.time_axis import (
    TimeAxis,
    axis_from_start,
    axis_from_times,
    check_horizon,
    frequency,
    read_times,
)
from forecast.data.validation import member


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
    for index, sent in enumerate(inputs):
        item_id = sent.item_id if sent.item_id is not None else str(index)
        series, missing = _series(sent, item_id, f"/inputs/{index}", ahead, budget)
        budget -= series.target.size
        check_budget(budget, policy)
        read.append(series)
        warnings.extend(gap_warnings(item_id, missing))
    _check_unique(read)
    return SeriesBatch(tuple(read), tuple(warnings))


def check_series_count(count: int, policy: DataPolicy) -> None:
    if count > policy.max_series:
        raise TooLarge(f"{count} series are sent; at most {policy.max_series} are allowed")


def check_budget(points_left: int, policy: DataPolicy) -> None:
    if points_left < 0:
        raise TooLarge(f"the series hold more than {policy.max_points} values; send fewer")


def gap_warnings(item_id: str, missing: int) -> list[str]:
    """Say that the grid of a series had gaps."""
    if not missing:
        return []
    noun = "timestamp" if missing == 1 else "timestamps"
    verb = "was" if missing == 1 else "were"
    return [f"{missing} missing {noun} of series {item_id!r} {verb} filled with missing values"]


def _check_unique(series: Sequence[Series]) -> None:
    seen: set[str] = set()
    for index, one in enumerate(series):
        if one.item_id in seen:
            raise InvalidRequest.field(
                f"/inputs/{index}/item_id", f"item_id {one.item_id!r} is used twice"
            )
        seen.add(one.item_id)


def _series(
    sent: SeriesInput, item_id: str, pointer: str, ahead: Ahead, most: int
) -> tuple[Series, int]:
    """Read one series, and count the timestamps its grid misses."""
    target, has_channels = _target(sent.target, f"{pointer}/target", item_id)
    axis = _axis(sent, target.shape[1], pointer, most)
    check_horizon(
        axis, ahead.horizon, f"{pointer}/start" if sent.start else f"{pointer}/timestamps"
    )
    past = {
        name: axis.spread(_past(name, values, target.shape[1], pointer))
        for name, values in sent.past_covariates.items()
    }
    future = {
        name: _future(name, values, ahead, past.get(name), pointer)
        for name, values in sent.future_covariates.items()
    }
    series = Series(
        target=axis.spread(target),
        item_id=item_id,
        channels=tuple(map(str, range(len(target)))) if has_channels else (),
        start=axis.start,
        freq=axis.freq,
        past_covariates=past,
        future_covariates=future,
        static_covariates={
            name: static_value(value, member(pointer, "static_covariates", name))
            for name, value in sent.static_covariates.items()
        },
        is_utc=axis.is_utc,
    )
    return series, axis.missing


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


def _axis(sent: SeriesInput, length: int, pointer: str, most: int) -> TimeAxis:
    if sent.timestamps is None:
        return axis_from_start(sent.start, sent.freq, length, pointer)
    where = f"{pointer}/timestamps"
    if sent.start is not None:
        raise InvalidRequest.field(f"{pointer}/start", "send either start or timestamps, not both")
    times, is_utc = read_times(sent.timestamps, where)
    if len(times) != length:
        raise InvalidRequest.field(
            where, f"has {len(times)} timestamps; expected {length}, one a value of the target"
        )
    freq: Frequency | None = None if sent.freq is None else frequency(sent.freq, pointer)
    return axis_from_times(times, freq, where, is_utc=is_utc, most=most)


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
