"""What a gateway refuses before it accepts a job, so that the job does not fail an hour later."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from forecast.core.errors import InvalidRequest, LicenseNotAccepted, LooksAhead, NotTrainable
from forecast.core.lookahead import Provenance, may_forecast
from forecast.core.times import day_end
from forecast.core.types import Series
from forecast.core.validation import validated_options
from forecast.data.parameters import DEFAULT_LEVELS, checked_levels
from forecast.models.base.checks import check_training_options, check_training_series
from forecast.models.base.config import LoraConfig, ModelConfig, TrainingMode
from forecast.models.spec import ModelSpec
from forecast.serving.initialization import checked_config
from forecast.store.sources import parse
from forecast.training.forecasting import origins_of
from forecast.training.plan import BacktestPlan, FitPlan, TrainingPlan
from forecast.training.splitting import check_enough, check_held_back, held_steps
from forecast.training.train import years_of


def check_trainable(spec: ModelSpec) -> None:
    """Refuse a model that cannot be trained."""
    if not (spec.capabilities.trainable or spec.capabilities.fine_tunable):
        raise NotTrainable(f"{spec.name} has nothing to learn; it forecasts as it is")


def check_license(spec: ModelSpec, accepted: Sequence[str], *, by_caller: bool) -> None:
    """Refuse weights whose terms nobody has accepted.

    Args:
        accepted: ids of the models whose terms the operator accepted; `all` for any.
        by_caller: whether the caller accepted them.
    """
    if spec.license.commercial_use or by_caller or {spec.model_id, "all"} & set(accepted):
        return
    raise LicenseNotAccepted(
        f"the weights of {spec.model_id} are licensed under {spec.license.id}, which forbids"
        " commercial use; send accept_license: true if that suits you"
    )


def check_source(source: str) -> None:
    """Refuse a malformed source of weights; whether it exists shows when it is loaded."""
    try:
        parse(source)
    except InvalidRequest as error:
        raise InvalidRequest.field("/source", error.detail) from error


def training_config(spec: ModelSpec, sent: dict[str, object], processes: int = 1) -> ModelConfig:
    """Check the configuration that a model is to be trained with.

    Raises:
        InvalidRequest: an option that the model does not have, or a bad value; names it.
        NotTrainable: the model cannot be trained in this mode.
    """
    config = checked_config(spec.config, sent, "/config")
    check_training_options(config, spec.capabilities, distributed=spec.distributed)
    if processes > 1 and getattr(config, "distributed", None) is None:
        raise InvalidRequest.field("/distributed", "this model trains in one process; leave it out")
    return config


def starting_weights(asked: str | None, config: ModelConfig, spec: ModelSpec) -> str | None:
    """Return the source of the weights to start from; None to start from nothing.

    Raises:
        InvalidRequest: the source is malformed, missing, or contradicts the training mode.
    """
    mode = getattr(config, "training_mode", None)
    if asked is not None:
        if mode is TrainingMode.FROM_SCRATCH:
            raise InvalidRequest.field(
                "/source", "goes with training_mode fine_tune; from_scratch starts from nothing"
            )
        check_source(asked)
        return asked
    if mode is TrainingMode.FROM_SCRATCH:
        return None
    if mode is TrainingMode.FINE_TUNE and spec.needs_training:
        raise InvalidRequest.field(
            "/source", "name the weights to fine-tune, such as store:current; there are no others"
        )
    return spec.weights


def check_start(plan: FitPlan, cutoffs: Sequence[date], spec: ModelSpec) -> tuple[str, ...]:
    """Refuse, or warn of, public weights to start from that may have seen past a cutoff.

    The provenance of stored weights is only known to the worker, and checked there.

    Raises:
        LooksAhead: they may have seen what comes after the earliest cutoff.
    """
    if plan.source is None or not plan.source.startswith("hf:") or not cutoffs:
        return ()
    seen = Provenance(roots=(spec.root_of(plan.source),))
    earliest = day_end(min(cutoffs))
    verdict = may_forecast(seen, earliest, name="what is trained", strict=plan.strict)
    if not verdict.allowed:
        raise LooksAhead.field(
            "/source",
            f"{verdict.warnings[0]}; train from scratch, or send strict: false",
        )
    return verdict.warnings


# Trainings


def resolve_training(
    sent: TrainingPlan, spec: ModelSpec, accepted: Sequence[str]
) -> tuple[TrainingPlan, ModelConfig]:
    """Fill in the whole configuration and the weights to start from.

    Args:
        accepted: ids of the models whose non-commercial license the operator accepted.

    Raises:
        LicenseNotAccepted: of the weights to start from.
        InvalidRequest: points at each field that is wrong.
    """
    whole = _whole_config(sent)
    config = training_config(spec, whole, sent.processes)
    source = starting_weights(sent.source, config, spec)
    if source is not None:
        check_license(spec, accepted, by_caller=sent.accept_license)
    snapshots = sent.snapshots if sent.snapshots and sent.snapshots.yearly else None
    changes = {"config": whole, "source": source, "snapshots": snapshots}
    return sent.model_copy(update=changes), config


def _whole_config(plan: TrainingPlan) -> dict[str, Any]:
    """Add what has a field of its own to the configuration.

    Raises:
        InvalidRequest: the configuration has it too, and differs.
    """
    own: dict[str, tuple[str, Any]] = {}
    if plan.mode is not None:
        own["mode"] = ("training_mode", plan.mode)
    if plan.lora is not None:
        validated_options(LoraConfig, plan.lora, "/lora")
        own["lora"] = ("lora", plan.lora)
    if plan.distributed is not None:
        own["distributed"] = ("distributed", plan.distributed.model_dump(exclude={"processes"}))
    for field, (name, value) in own.items():
        if plan.config.get(name, value) != value:
            raise InvalidRequest.field(
                f"/{field}", f"config.{name} says something else; send one of them"
            )
    return plan.config | dict(own.values())


def check_training_data(
    plan: TrainingPlan, config: ModelConfig, spec: ModelSpec, series: Sequence[Series]
) -> list[str]:
    """Refuse data that some fit of the plan cannot learn from; returns warnings.

    Raises:
        BadData: nothing, or nothing finite, is observed.
        InvalidRequest: too little data at one of the cutoffs, no times, or too many years.
        LooksAhead: public weights to start from may have seen what comes after a cutoff.
    """
    horizon, validation, warnings = config.horizon or 1, plan.validation, []
    check_training_series(series, spec.capabilities)
    check_held_back([one.length for one in series], validation, horizon)
    _check_times(plan, series)
    check_enough(series, plan.cutoff, validation, horizon, "/cutoff")
    cutoffs = [date(year, 12, 31) for year in years_of(series, plan.snapshots, plan.cutoff)]
    if plan.snapshots is not None and cutoffs:
        name = "bootstrap_years" if plan.snapshots.first is None else "first"
        check_enough(series, cutoffs[0], validation, horizon, f"/snapshots/{name}")
    elif plan.snapshots is not None:
        warnings.append(
            f"no past year comes after {plan.snapshots.bootstrap_years} years of data, so there"
            " is none to train a snapshot of"
        )
    if plan.cutoff is not None:
        cutoffs.append(plan.cutoff)
    return [*warnings, *check_start(plan, cutoffs, spec)]


def _check_times(plan: TrainingPlan, series: Sequence[Series]) -> None:
    asked = "/cutoff" if plan.cutoff else "/snapshots" if plan.snapshots else None
    without = next((one for one in series if one.past_timestamps is None), None)
    if asked and without is not None:
        raise InvalidRequest.field(
            asked,
            f"{without.item_id!r} has no times, so nothing can be cut in time; send start and"
            " freq, timestamps, or name the column of times",
        )


# Backtests


def resolve_backtest(sent: BacktestPlan, spec: ModelSpec, accepted: Sequence[str]) -> BacktestPlan:
    """Fill in the configuration of each fit, the source of the weights and the levels.

    Args:
        accepted: ids of the models whose non-commercial license the operator accepted.

    Raises:
        NotTrainable: the model is to be fitted again, and cannot be trained.
        LicenseNotAccepted: of its weights.
        InvalidRequest: points at each field that is wrong.
    """
    most = spec.capabilities.max_horizon
    if sent.horizon > most:
        raise InvalidRequest.field("/horizon", f"is more than {most}, this model's limit")
    if sent.refit != "never":
        check_trainable(spec)
    if sent.every != 1 and sent.refit != "every_n":
        raise InvalidRequest.field("/every", "goes with refit: every_n")
    if spec.weights is not None:
        check_license(spec, accepted, by_caller=sent.accept_license)
    source = _source(sent)
    changes = {
        "config": _backtest_config(sent, source, spec),
        "source": source,
        "version": None,
        "quantile_levels": list(_levels(sent, spec)),
    }
    return sent.model_copy(update=changes)


def _source(plan: BacktestPlan) -> str | None:
    if plan.version is not None and plan.source is not None:
        raise InvalidRequest.field("/version", "send either source or version, not both")
    source = plan.source if plan.version is None else f"store:{plan.version}"
    if source is not None:
        check_source(source)
    return source


def _backtest_config(plan: BacktestPlan, source: str | None, spec: ModelSpec) -> dict[str, Any]:
    """Check the configuration; a fit is for the horizon of the backtest unless it names one."""
    if plan.config.get("distributed") is not None:
        raise InvalidRequest.field("/config/distributed", "a backtest fits in one process")
    if plan.refit != "every_n":
        checked_config(spec.config, plan.config, "/config")
        return plan.config
    config = {"horizon": plan.horizon} | plan.config
    starting_weights(source, training_config(spec, config), spec)
    return config


def _levels(plan: BacktestPlan, spec: ModelSpec) -> Sequence[float]:
    has_quantiles = spec.capabilities.quantiles != "none"
    if plan.quantile_levels is None:
        return DEFAULT_LEVELS if has_quantiles else ()
    if plan.quantile_levels and not has_quantiles:
        raise InvalidRequest.field(
            "/quantile_levels", "this model makes point forecasts only; send an empty list"
        )
    return checked_levels(plan.quantile_levels, "/quantile_levels")


def check_backtest_data(plan: BacktestPlan, spec: ModelSpec, series: Sequence[Series]) -> None:
    """Refuse series that cannot hold the origins of the plan, or the first fit.

    Raises:
        BadData: nothing, or nothing finite, is observed.
        InvalidRequest: the series are too short, or have no times.
    """
    check_training_series(series, spec.capabilities)
    origins = origins_of(series, plan, min_context=spec.capabilities.min_context)
    if plan.refit != "never" and origins[0].time is None:
        raise InvalidRequest.field(
            "/refit",
            "the series have no times, so nothing can be cut in time; send start and freq,"
            " timestamps, or name the column of times",
        )
    if plan.refit == "every_n":
        _check_first_fit(plan, spec, [part.past.length for part in origins[0].parts])


def _check_first_fit(plan: BacktestPlan, spec: ModelSpec, lengths: Sequence[int]) -> None:
    """Refuse a first origin before which no series holds one step and a horizon after it."""
    horizon = checked_config(spec.config, plan.config, "/config").horizon or 1
    needed = horizon + 1
    held = [held_steps(length, plan.validation, horizon) for length in lengths]
    left = max((length - steps for length, steps in zip(lengths, held, strict=True)), default=0)
    if left < needed:
        raise InvalidRequest.field(
            "/windows",
            f"before the first origin {left} steps are left to learn from, without what is held"
            f" back for validation; one step and the horizon need {needed}",
        )
