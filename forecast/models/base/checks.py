"""What is checked before a model is asked and after it has answered."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from forecast.core.errors import BadData, BadModelOutput, InvalidRequest, NotTrainable
from forecast.core.types import CovariateArray, Forecast, ForecastTask, Series, is_categorical
from forecast.models.base.config import ModelConfig, TrainingConfig, TrainingMode
from forecast.models.spec import Capabilities

Value = TypeVar("Value")

LARGEST = 1e150
"""Largest size of a number: what can be squared in 64 bits, as a variance is."""


def check_series(series: Series, task: ForecastTask, able: Capabilities, steps: int) -> None:
    """Refuse what the model cannot do.

    Args:
        steps: the most past steps that will be used: what must hold observed values.

    Raises:
        BadData: nothing observed, or a value that is infinite.
        InvalidRequest: a limit was passed, or a covariate cannot be used or has the wrong
            length; names it and the limit.
    """
    _check_horizon(task, able)
    _check_target(series, able, steps)
    _check_covariates(series, task, able)


def _check_horizon(task: ForecastTask, able: Capabilities) -> None:
    if not 1 <= task.horizon <= able.max_horizon:
        raise InvalidRequest.field(
            "/parameters/horizon",
            f"horizon {task.horizon} is not between 1 and {able.max_horizon}, this model's limit",
        )
    if task.quantile_levels and able.quantiles == "none":
        raise InvalidRequest.field(
            "/parameters/quantile_levels",
            "this model makes point forecasts only; send an empty list",
        )


def _check_target(series: Series, able: Capabilities, steps: int) -> None:
    if series.num_channels > 1 and not able.multivariate:
        raise InvalidRequest(
            f"series {series.item_id!r} has {series.num_channels} channels and this model takes"
            " one; send each channel as a series of its own"
        )
    if np.isinf(series.target).any():
        raise BadData(f"series {series.item_id!r} holds an infinite value")
    _check_size(f"series {series.item_id!r} holds", series.target)
    observed = (~np.isnan(series.target[:, -steps:])).sum(axis=1)  # [C]
    used = f" in its last {steps} steps, all that is used" if steps < series.length else ""
    if observed.size == 0 or observed.min() == 0:
        raise BadData(f"series {series.item_id!r} holds no observed value{used}")
    if observed.min() < able.min_context:
        raise InvalidRequest(
            f"series {series.item_id!r} has {observed.min()} observed values{used};"
            f" this model needs at least {able.min_context}"
        )


def _check_covariates(series: Series, task: ForecastTask, able: Capabilities) -> None:
    unusable = _unusable(series, able)
    options = task.options
    if unusable and not getattr(options, "ignore_covariates", False):
        raise InvalidRequest(
            f"this model cannot use the covariates {', '.join(sorted(unusable))} of series"
            f" {series.item_id!r}; leave them out or set model_options.ignore_covariates"
            f"{_known_ahead_only(series, able, unusable)}"
        )
    for name, past in series.past_covariates.items():
        _check_length(series, f"past values of covariate {name!r}", past, series.length)
    for name, future in series.future_covariates.items():
        if name not in series.past_covariates:
            raise InvalidRequest(
                f"covariate {name!r} of series {series.item_id!r} has future values only;"
                f" send its {series.length} past values under past_covariates"
            )
        _check_length(series, f"future values of covariate {name!r}", future, task.horizon)


def _known_ahead_only(series: Series, able: Capabilities, unusable: set[str]) -> str:
    """Say what a model that uses covariates known ahead could use, were their future sent."""
    past_only = unusable & (series.past_covariates.keys() - series.future_covariates.keys())
    numbers = [name for name in past_only if not is_categorical(series.past_covariates[name])]
    if not (able.future_covariates and numbers):
        return ""
    return f". It uses covariates that are known ahead; the future of {min(numbers)} is not sent"


def _check_length(series: Series, what: str, values: CovariateArray, expected: int) -> None:
    if len(values) != expected:
        raise InvalidRequest(
            f"the {what} of series {series.item_id!r} are {len(values)}; expected {expected}"
        )
    if not is_categorical(values) and np.isinf(values).any():
        raise BadData(f"the {what} of series {series.item_id!r} hold an infinite value")
    if not is_categorical(values):
        _check_size(f"the {what} of series {series.item_id!r} hold", values)


def _check_size(holder: str, values: CovariateArray) -> None:
    if (np.abs(values) > LARGEST).any():
        raise BadData(
            f"{holder} a value beyond ±{LARGEST:g}, more than can be scaled; send larger units"
        )


def _unusable(series: Series, able: Capabilities) -> set[str]:
    """Names of the covariates that a model of these capabilities cannot use."""
    future = set(series.future_covariates)
    unusable = set() if able.static_covariates else set(series.static_covariates)
    for name, past in series.past_covariates.items():
        usable = able.future_covariates if name in future else able.past_covariates
        if not usable or (is_categorical(past) and not able.categorical_covariates):
            unusable.add(name)
    return unusable


def without_unusable(series: Series, able: Capabilities) -> tuple[Series, tuple[str, ...]]:
    """Drop the covariates that cannot be used, and say which."""
    unusable = _unusable(series, able)
    if not unusable:
        return series, ()
    kept = replace(
        series,
        past_covariates=_without(series.past_covariates, unusable),
        future_covariates=_without(series.future_covariates, unusable),
        static_covariates=_without(series.static_covariates, unusable),
    )
    return kept, (f"ignored covariates: {', '.join(sorted(unusable))}",)


def _without(covariates: Mapping[str, Value], names: set[str]) -> dict[str, Value]:
    return {name: value for name, value in covariates.items() if name not in names}


def constant_covariates(series: Series) -> tuple[str, ...]:
    """Name the known covariates that never change while a univariate target is observed.

    A regression within the series learns nothing of them.
    """
    observed = ~np.isnan(series.target[0])
    names = []
    for name in sorted(series.future_covariates):
        values = series.past_covariates[name][observed]
        known = values if is_categorical(values) else values[~np.isnan(values)]
        if len(np.unique(known)) < 2:
            names.append(name)
    return tuple(names)


def left_out(names: Sequence[str]) -> tuple[str, ...]:
    """Say which covariates were constant, where any was."""
    return (f"constant covariates were left out: {', '.join(names)}",) if names else ()


def check_training_options(config: ModelConfig, able: Capabilities, *, distributed: bool) -> None:
    """Refuse a way of training that the family does not have.

    Raises:
        NotTrainable: the training mode is none of the family's.
        InvalidRequest: it has no adapters, or cannot be shared between processes.
    """
    if not isinstance(config, TrainingConfig):
        return
    modes = {TrainingMode.FROM_SCRATCH: able.trainable, TrainingMode.FINE_TUNE: able.fine_tunable}
    if not modes.get(config.training_mode, False):
        there = " or ".join(mode for mode, is_there in modes.items() if is_there)
        raise NotTrainable(f"training_mode {config.training_mode} trains nothing here; set {there}")
    if config.lora is not None and not able.lora:
        raise InvalidRequest.field("/lora", "this model has no layers for adapters; leave it out")
    if config.distributed is not None and not distributed:
        raise InvalidRequest.field("/distributed", "this model trains in one process; leave it out")


def check_training_series(series: Sequence[Series], able: Capabilities) -> None:
    """Refuse what cannot be learned from.

    Raises:
        BadData: no series, nothing observed, or a value that is infinite.
        InvalidRequest: several channels or covariates that the family cannot use.
    """
    if not series:
        raise BadData("there is no series to learn from")
    if len({one.layout for one in series}) > 1:
        raise InvalidRequest("the series to learn from differ in their channels or covariates")
    for one in series:
        _check_target(one, replace(able, min_context=1), max(one.length, 1))
        if unusable := _unusable(one, able):
            raise InvalidRequest(
                f"this model cannot learn from the covariates {', '.join(sorted(unusable))};"
                " leave them out"
            )
        for name, past in one.past_covariates.items():
            _check_length(one, f"past values of covariate {name!r}", past, one.length)


def check_forecasts(forecasts: Sequence[Forecast], batch: Sequence[Series], horizon: int) -> None:
    """Refuse what a model must never answer.

    Raises:
        BadModelOutput: a forecast is missing, misshapen or not finite.
    """
    if len(forecasts) != len(batch):
        raise BadModelOutput(f"the model answered {len(forecasts)} of {len(batch)} series")
    for series, forecast in zip(batch, forecasts, strict=True):
        points = (series.num_channels, horizon)
        levels = (series.num_channels, len(forecast.quantile_levels), horizon)
        if forecast.mean.shape != points or forecast.quantiles.shape != levels:
            raise BadModelOutput(
                f"the model answered series {series.item_id!r} with shapes"
                f" {forecast.mean.shape} and {forecast.quantiles.shape},"
                f" not {points} and {levels}"
            )
        if not (np.isfinite(forecast.mean).all() and np.isfinite(forecast.quantiles).all()):
            raise BadModelOutput(
                f"the model's forecast of series {series.item_id!r} is not finite;"
                " its values may be too large, or its history too short"
            )
