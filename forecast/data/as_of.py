"""What a request asks of time: as of when, with which version, and how strictly."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

import numpy as np

from forecast.core.errors import InvalidRequest
from forecast.core.times import day_end, shown
from forecast.core.types import Series, is_categorical
from forecast.data.inputs import SeriesBatch
from forecast.data.times import read_time
from forecast.data.validation import excerpt

AS_OF = "/parameters/as_of"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which weights are to answer, and what they may have seen.

    Attributes:
        as_of: the last moment that anything in the answer may know of; None for now.
        version: name of a version, an alias or a snapshot; None leaves the choice to the server.
        strict: refuse, rather than warn of, weights that have seen what came after `as_of`, or
            may have.
    """

    as_of: np.datetime64 | None = None
    version: str | None = None
    strict: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the loaded weights answer, whatever they have seen."""
        return self.as_of is None and self.version is None


class _Sent(Protocol):
    """The parameters of any shape of request."""

    as_of: str | None
    version: str | None
    strict: bool | None


def wanted_of(parameters: _Sent) -> Wanted:
    """Read what the parameters of a request ask of time.

    Raises:
        InvalidRequest: `as_of` is no date or time, or `strict` stands without it.
    """
    if parameters.as_of is None:
        if parameters.strict:
            raise InvalidRequest.field("/parameters/strict", "goes with as_of")
        return Wanted(version=parameters.version)
    moment = read_moment(parameters.as_of, AS_OF)
    return Wanted(moment, parameters.version, parameters.strict is not False)


def read_moment(text: str, pointer: str) -> np.datetime64:
    """Read a time; a day stands for all of its hours.

    Raises:
        InvalidRequest: it is neither a date nor a time.
    """
    try:
        time, _ = read_time(text, pointer)
        day = _day(text)
    except InvalidRequest as error:
        if "ISO 8601" not in error.detail:
            raise
        raise InvalidRequest.field(
            pointer, f"{excerpt(text)} is no date such as 2025-12-31, nor an ISO 8601 time"
        ) from error
    return time if day is None else day_end(day)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def cut_batch(batch: SeriesBatch, wanted: Wanted, horizon: int) -> SeriesBatch:
    """Keep of each series what was known as of the moment that is wanted.

    Covariates that are known ahead go on for `horizon` steps after it.

    Raises:
        InvalidRequest: a series has no times, begins later, or misses a covariate known ahead.
    """
    if wanted.as_of is None:
        return batch
    parts = [_part(series, wanted.as_of, horizon) for series in batch.series]
    warnings = _dropped(batch.series, parts, wanted.as_of)
    return SeriesBatch(tuple(parts), (*batch.warnings, *warnings))


def _part(series: Series, moment: np.datetime64, horizon: int) -> Series:
    if series.past_timestamps is None:
        raise InvalidRequest.field(
            AS_OF,
            f"series {series.item_id!r} has no times, so it cannot be cut at {shown(moment)};"
            " send start and freq, or timestamps",
        )
    part = series.until(moment, horizon)
    if not part.length:
        raise InvalidRequest.field(
            AS_OF,
            f"series {series.item_id!r} begins at {series.start}, after {shown(moment)};"
            " leave it out, or send a later as_of",
        )
    _check_known_ahead(part, moment, horizon)
    return part


def _check_known_ahead(series: Series, moment: np.datetime64, horizon: int) -> None:
    for name, values in series.future_covariates.items():
        known = np.ones(len(values), bool) if is_categorical(values) else ~np.isnan(values)
        covered = len(values) if known.all() else int(known.argmin())
        if covered < horizon:
            raise InvalidRequest.field(
                AS_OF,
                f"covariate {name!r} of series {series.item_id!r} has no value"
                f" {_steps(covered + 1)} after {shown(moment)}; what is known ahead needs one at"
                " each step of the horizon",
            )


def _dropped(
    whole: Sequence[Series], parts: Sequence[Series], moment: np.datetime64
) -> tuple[str, ...]:
    counts = [one.length - part.length for one, part in zip(whole, parts, strict=True)]
    return tuple(
        f"dropped {_steps(count)} after {shown(moment)} of {one.item_id!r}"
        for one, count in zip(whole, counts, strict=True)
        if count
    )


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def earlier(text: str | None, wanted: Wanted, pointer: str) -> tuple[str | None, tuple[str, ...]]:
    """Choose the end of a context: the one a caller names, or `as_of` where that is earlier.

    Returns:
        the time in words, or None where neither was sent; and warnings.
    """
    if text is None or wanted.as_of is None:
        return text, ()
    end = read_moment(text, pointer)
    if end <= wanted.as_of:
        return text, ()
    said = f"the context goes on until {shown(end)}, after as_of, {shown(wanted.as_of)}"
    return None, (f"{said}, where it was cut",)
