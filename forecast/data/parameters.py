"""Parameters of a request: the task, its deadline, the weights wanted, and the cut at `as_of`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from forecast.core.errors import InvalidRequest
from forecast.core.times import day_end, shown
from forecast.core.types import ForecastTask, Series, is_categorical
from forecast.core.validation import excerpt, member, validated_options
from forecast.data.inline import CommonParameters, Parameters
from forecast.data.inputs import SeriesBatch
from forecast.data.policy import DataPolicy
from forecast.data.times import read_time
from forecast.models.spec import ModelSpec

AS_OF = "/parameters/as_of"
DEFAULT_LEVELS = (0.1, 0.5, 0.9)


def task_of(parameters: Parameters, spec: ModelSpec, default_horizon: int | None) -> ForecastTask:
    """Make the task of native parameters.

    Raises:
        InvalidRequest: no horizon, a level that is none, an option the model does not have.
    """
    return ForecastTask(
        horizon=horizon_of(parameters.horizon, default_horizon, "/parameters/horizon"),
        quantile_levels=_levels(parameters, spec),
        context_length=parameters.context_length,
        num_samples=parameters.num_samples,
        seed=parameters.seed,
        intervals=parameters.intervals,
        options=validated_options(
            spec.options, parameters.model_options, member("/parameters", "model_options")
        ),
    )


def horizon_of(asked: int | None, default: int | None, pointer: str) -> int:
    """Choose the horizon asked, or the one the model was initialized with."""
    if asked is not None:
        return asked
    if default is None:
        raise InvalidRequest.field(
            pointer, "send the number of steps to forecast; the model was given no default"
        )
    return default


def timeout_of(asked: float | None, policy: DataPolicy) -> float:
    """Choose the seconds a request may take.

    Raises:
        InvalidRequest: longer than allowed.
    """
    if asked is None:
        return policy.timeout_s
    if asked > policy.max_timeout_s:
        raise InvalidRequest.field(
            "/parameters/timeout_s",
            f"{asked:g} s is more than the {policy.max_timeout_s:g} s allowed",
        )
    return asked


def _levels(parameters: Parameters, spec: ModelSpec) -> tuple[float, ...]:
    if parameters.quantile_levels is None:
        return () if spec.capabilities.quantiles == "none" else DEFAULT_LEVELS
    return checked_levels(parameters.quantile_levels, "/parameters/quantile_levels")


def checked_levels(levels: Sequence[float], pointer: str) -> tuple[float, ...]:
    """Put quantile levels in order.

    Raises:
        InvalidRequest: one is not in (0, 1), or stands twice.
    """
    for index, level in enumerate(levels):
        if not 0 < level < 1:
            raise InvalidRequest.field(
                member(pointer, index), f"{level:g} is not between 0 and 1, both excluded"
            )
    if len(set(levels)) < len(levels):
        raise InvalidRequest.field(pointer, "a level stands twice; send each once")
    return tuple(sorted(levels))


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


def wanted_of(parameters: CommonParameters) -> Wanted:
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
