"""What of each series is learned from, what chooses the weights, and what compares versions."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

import numpy as np

from forecast.core.errors import InvalidRequest
from forecast.core.times import day_end, to_datetime64
from forecast.core.types import Series
from forecast.training.plan import Validation

_EVALUATED_SHARE = 0.1  # of a series, at most, but one horizon at least
_MOST_ORIGINS = 10  # of each series
_MOST_STEPS = 4096  # of a series that is forecast to compare versions


class Split(NamedTuple):
    """Series, and where the validation part of each begins.

    Attributes:
        train: the first steps of each series.
        validation: those that hold some back, whole.
        first_validation_steps: of each of `validation`, the first step that `train` lacks.
        unvalidated: ids of the items that are too short to hold anything back.
    """

    train: tuple[Series, ...]
    validation: tuple[Series, ...] = ()
    first_validation_steps: tuple[int, ...] = ()
    unvalidated: tuple[str, ...] = ()


def split(series: Sequence[Series], validation: Validation, horizon: int) -> Split:
    """Hold back the end of each series; one that is too short for it is learned from whole.

    Args:
        horizon: steps that a training window of the model forecasts.

    Raises:
        InvalidRequest: every series is too short for the requested validation split.
    """
    kept = [one.length - _held(one, validation, horizon) for one in series]
    if not _is_asked(validation):
        return Split(tuple(series))
    held_back = [(one, k) for one, k in zip(series, kept, strict=True) if k < one.length]
    if not held_back and validation.horizons is not None:
        check_held_back([one.length for one in series], validation, horizon)
    return Split(
        train=tuple(one.until(k) for one, k in zip(series, kept, strict=True)),
        validation=tuple(one for one, _ in held_back),
        first_validation_steps=tuple(k for _, k in held_back),
        unvalidated=tuple(
            one.item_id for one, k in zip(series, kept, strict=True) if k == one.length
        ),
    )


def held_steps(length: int, validation: Validation, horizon: int) -> int:
    """Count the steps held back of a series: at least one horizon, or none of a short series.

    What is left holds one step and a horizon at least.
    """
    if not _is_asked(validation):
        return 0
    if validation.horizons is None:
        steps = max(int(length * validation.share), horizon)
    else:
        steps = validation.horizons * horizon
    return steps if length - steps > horizon else 0


def check_held_back(lengths: Sequence[int], validation: Validation, horizon: int) -> None:
    """Refuse horizons to hold back that no series is long enough for.

    Raises:
        InvalidRequest: no series is.
    """
    if validation.horizons is None or not _is_asked(validation):
        return
    if any(held_steps(length, validation, horizon) for length in lengths):
        return
    raise InvalidRequest.field(
        "/validation/horizons",
        f"holds back {validation.horizons * horizon} steps, and the longest series has"
        f" {max(lengths, default=0)}; hold back fewer",
    )


def check_enough(
    series: Sequence[Series],
    cutoff: date | None,
    validation: Validation,
    horizon: int,
    pointer: str,
) -> None:
    """Refuse a cutoff before which no series holds one step and a horizon after it.

    Raises:
        InvalidRequest: at the pointer, or at no field where there is no cutoff.
    """
    kept = [one if cutoff is None else one.until(day_end(cutoff)) for one in series]
    kept = [one for one in kept if one.length and not np.isnan(one.target).all()]
    left = max((_left(one.length, validation, horizon) for one in kept), default=0)
    if left > horizon:
        return
    until = f" up to {cutoff}" if cutoff else ""
    detail = (
        f"the longest series leaves {left} steps{until} to learn from, without what is held back"
        f" for validation; one step and the horizon need {horizon + 1}"
    )
    raise InvalidRequest.field(pointer, detail) if cutoff else InvalidRequest(detail)


def _left(length: int, validation: Validation, horizon: int) -> int:
    held = held_steps(length, validation, horizon)
    return 0 if validation.horizons and not held else length - held


def _is_asked(validation: Validation) -> bool:
    asked = validation.share if validation.horizons is None else validation.horizons
    return asked > 0


def _held(series: Series, validation: Validation, horizon: int) -> int:
    """Count the steps held back; none where one of the two parts would hold no value."""
    held = held_steps(series.length, validation, horizon)
    parts = series.target[:, : series.length - held], series.target[:, series.length - held :]
    return held if all(bool(np.isfinite(part).any()) for part in parts) else 0


class Evaluation(NamedTuple):
    """Series without their newest steps, and series that end in the steps to compare on.

    Attributes:
        before: what may be learned from; each series once.
        held_out: a series for each origin; its last horizon is what is compared.
        horizon: steps.
    """

    before: tuple[Series, ...]
    held_out: tuple[Series, ...] = ()
    horizon: int = 1


def hold_out_newer(series: Sequence[Series], seen: datetime, horizon: int) -> Evaluation:
    """Hold out whole horizons that are newer than what another version has seen.

    Args:
        seen: up to when the other version has seen data.
    """
    after = to_datetime64(seen)
    before, held_out = [], []
    for one in series:
        origins = _count_origins(one, after, horizon)
        before.append(one.until(one.length - origins * horizon))
        held_out += [
            one.until(one.length - number * horizon).last(_MOST_STEPS) for number in range(origins)
        ]
    measurable = tuple(one for one in held_out if _is_measurable(one, horizon))
    return Evaluation(tuple(before), measurable, horizon)


def _count_origins(series: Series, after: np.datetime64, horizon: int) -> int:
    newer = 0 if series.known_from is None else series.length - series.steps_until(after)
    most = max(horizon, int(series.length * _EVALUATED_SHARE))
    left = series.length - 2 * horizon - 1  # two horizons and a step stay, to learn from
    return max(0, min(min(newer, most, left) // horizon, _MOST_ORIGINS))


def _is_measurable(series: Series, horizon: int) -> bool:
    past, ahead = series.target[:, :-horizon], series.target[:, -horizon:]
    return all(bool(np.isfinite(part).any(axis=-1).all()) for part in (past, ahead))
