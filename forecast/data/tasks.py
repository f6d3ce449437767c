"""Parameters of a request → ForecastTask."""

from collections.abc import Sequence

from forecast.core.errors import InvalidRequest
from forecast.core.types import ForecastTask
from forecast.data.inline import Parameters
from forecast.data.policy import DataPolicy
from forecast.data.validation import member, validated
from forecast.models.spec import ModelSpec

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
        options=validated(
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
        return policy.default_timeout_s
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
