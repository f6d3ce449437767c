"""What of each series is learned from, and what is held back to find the best weights by."""

from collections.abc import Sequence
from typing import NamedTuple

from forecast.core.errors import InvalidRequest
from forecast.core.types import Series
from forecast.jobs.plans import Validation
from forecast.models.base.config import ModelConfig

DEFAULT_CONTEXT = 512  # before the held back part, for a model that names none


class Split(NamedTuple):
    """Two views of the same series, in the same order.

    Attributes:
        train: the first steps of each.
        validation: the last steps of each that holds some back, with a context before them.
    """

    train: tuple[Series, ...]
    validation: tuple[Series, ...]


def split(series: Sequence[Series], validation: Validation, config: ModelConfig) -> Split:
    """Hold back the end of each series; its validation part begins a context earlier.

    Raises:
        InvalidRequest: nothing of a series would be left to learn from.
    """
    context = config.context_length or DEFAULT_CONTEXT
    train, held_back = [], []
    for one in series:
        held = held_steps(one.length, validation, config)
        train.append(one.until(one.length - held))
        if held:
            held_back.append(one.last(held + context))
    return Split(tuple(train), tuple(held_back))


def held_steps(length: int, validation: Validation, config: ModelConfig) -> int:
    """Count the steps held back of a series: whole horizons where a share allows one.

    Raises:
        InvalidRequest: nothing would be left to learn from.
    """
    horizon = config.horizon or 1
    if validation.horizons is None:
        steps = int(length * validation.share)
        return steps if steps >= horizon else 0
    steps = validation.horizons * horizon
    if steps >= length:
        raise InvalidRequest.field(
            "/validation/horizons",
            f"holds back {steps} steps, and a series has {length}; hold back fewer",
        )
    return steps
