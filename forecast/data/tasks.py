"""Parameters of a request → ForecastTask."""

from collections.abc import Sequence

from forecast.core.errors import InvalidRequest
from forecast.core.types import ForecastTask
from forecast.data.inline import Parameters
from forecast.data.named_file import NamedFileParameters
from forecast.data.policy import DataPolicy
from forecast.data.validation import member, validated_options
from forecast.models.spec import ModelSpec

DEFAULT_LEVELS = (0.1, 0.5, 0.9)
DECILES = tuple(round(0.1 * decile, 1) for decile in range(1, 10))
DEFAULT_BAND_INDICES = (1, 3, 5, 7, 9)


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


def named_task(
    parameters: NamedFileParameters, spec: ModelSpec, default_horizon: int | None
) -> tuple[ForecastTask, tuple[int, ...]]:
    """Make the task, and name the columns that bound the bands.

    Raises:
        InvalidRequest: no horizon, a level or index that is none, an option the model lacks.
    """
    has_quantiles = spec.capabilities.quantiles != "none"
    wanted = has_quantiles if parameters.use_quantiles is None else parameters.use_quantiles
    if wanted and not has_quantiles:
        raise InvalidRequest.field(
            "/parameters/use_quantiles", "this model makes point forecasts only; send false"
        )
    levels: tuple[float, ...] = ()
    if wanted:
        levels = (
            DECILES
            if parameters.quantiles is None
            else checked_levels(parameters.quantiles, "/parameters/quantiles")
        )
    task = ForecastTask(
        horizon=horizon_of(parameters.horizon_len, default_horizon, "/parameters/horizon_len"),
        quantile_levels=levels,
        seed=parameters.seed,
        intervals=parameters.intervals,
        options=validated_options(
            spec.options, parameters.model_options, "/parameters/model_options"
        ),
    )
    return task, _band_indices(parameters, len(levels)) if wanted else ()


def _band_indices(parameters: NamedFileParameters, levels: int) -> tuple[int, ...]:
    if parameters.quantile_indices is None:
        return DEFAULT_BAND_INDICES if parameters.quantiles is None else tuple(range(1, levels + 1))
    for position, index in enumerate(parameters.quantile_indices):
        if not 0 <= index <= levels:
            raise InvalidRequest.field(
                member("/parameters/quantile_indices", position),
                f"{index} is not between 0 (the mean) and {levels}, the highest level",
            )
    return tuple(sorted(set(parameters.quantile_indices) - {0}))
