"""What is refused before a job is accepted, so that it does not fail an hour later."""

from collections.abc import Sequence
from datetime import date

import numpy as np

from forecast.core.errors import InvalidRequest, LicenseNotAccepted, LooksAhead, NotTrainable
from forecast.core.lookahead import Provenance, may_forecast
from forecast.core.times import day_end
from forecast.core.types import Series
from forecast.jobs.plans import Snapshots, TrainingPlan, Validation
from forecast.models.base.checks import check_training_options, check_training_series
from forecast.models.base.config import ModelConfig, TrainingMode
from forecast.models.spec import ModelSpec
from forecast.serving.initialization import checked_config
from forecast.store.sources import parse
from forecast.training.splitting import check_held_back, held_steps
from forecast.training.years import years_of

MOST_SNAPSHOTS = 200


def check_trainable(spec: ModelSpec) -> None:
    """Refuse a model that has nothing to learn."""
    if not (spec.capabilities.trainable or spec.capabilities.fine_tunable):
        raise NotTrainable(f"{spec.name} has nothing to learn; it forecasts as it is")


def training_config(spec: ModelSpec, sent: dict[str, object], processes: int = 1) -> ModelConfig:
    """Check what is set of a model to train it.

    Raises:
        InvalidRequest: an option the model does not have, or a bad value; names it.
        NotTrainable: it cannot be trained in this mode.
    """
    config = checked_config(spec.config, sent, "/config")
    check_training_options(config, spec.capabilities, distributed=spec.distributed)
    if processes > 1 and getattr(config, "distributed", None) is None:
        raise InvalidRequest.field("/distributed", "this model trains in one process; leave it out")
    return config


def starting_weights(asked: str | None, config: ModelConfig, spec: ModelSpec) -> str | None:
    """Name the weights to start from; None to start from nothing.

    Raises:
        InvalidRequest: this is no source, or one is needed, or nothing would be made of it.
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


def check_source(source: str) -> None:
    """Refuse what is no source of weights; whether it is there shows when it is loaded."""
    try:
        parse(source)
    except InvalidRequest as error:
        raise InvalidRequest.field("/source", error.detail) from error


def check_start(plan: TrainingPlan, spec: ModelSpec, years: Sequence[int]) -> tuple[str, ...]:
    """Refuse, or warn of, public weights to start from that a cutoff of the plan does not allow.

    What only shows once weights are here, such as the provenance of a version, is judged then.

    Raises:
        LooksAhead: they may have seen what comes after the earliest cutoff.
    """
    days = [date(year, 12, 31) for year in years] + ([plan.cutoff] if plan.cutoff else [])
    if plan.source is None or not plan.source.startswith("hf:") or not days:
        return ()
    seen = Provenance(roots=(spec.root_of(plan.source),))
    verdict = may_forecast(seen, day_end(min(days)), name="what is trained", strict=plan.strict)
    if not verdict.allowed:
        raise LooksAhead.field(
            "/source",
            f"{verdict.warnings[0]}; train from scratch, or send strict: false",
        )
    return verdict.warnings


def check_license(spec: ModelSpec, accepted: Sequence[str], *, by_caller: bool) -> None:
    """Refuse weights whose terms nobody has accepted.

    Args:
        accepted: ids of the models whose terms the operator accepted; `all` for any.
        by_caller: whether the caller did.
    """
    if spec.license.commercial_use or by_caller or {spec.model_id, "all"} & set(accepted):
        return
    raise LicenseNotAccepted(
        f"the weights of {spec.model_id} are licensed under {spec.license.id}, which forbids"
        " commercial use; send accept_license: true if that suits you"
    )


def check_learnable(
    series: Sequence[Series], plan: TrainingPlan, config: ModelConfig, spec: ModelSpec
) -> tuple[int, ...]:
    """Refuse data that some fit of the plan cannot learn from; gives the years of snapshots.

    Raises:
        BadData: there is nothing, or nothing finite, to learn from.
        InvalidRequest: too little data at one of the cutoffs, no times, or too many years.
    """
    check_training_series(series, spec.capabilities)
    check_held_back([one.length for one in series], plan.validation, config.horizon or 1)
    _check_times(series, plan)
    _check_enough(series, plan.cutoff, plan.validation, config, "/cutoff")
    if plan.snapshots is None:
        return ()
    years = _years(series, plan.snapshots, plan.cutoff)
    if years:
        earliest = date(min(years), 12, 31)
        where = "/snapshots/bootstrap_years" if plan.snapshots.first is None else "/snapshots/first"
        _check_enough(series, earliest, plan.validation, config, where)
    return years


def _check_times(series: Sequence[Series], plan: TrainingPlan) -> None:
    asked = "/cutoff" if plan.cutoff else "/snapshots" if plan.snapshots else None
    without = next((one for one in series if one.past_timestamps is None), None)
    if asked and without is not None:
        raise InvalidRequest.field(
            asked,
            f"{without.item_id!r} has no times, so nothing can be cut in time; send start and"
            " freq, timestamps, or name the column of times",
        )


def _years(series: Sequence[Series], snapshots: Snapshots, cutoff: date | None) -> tuple[int, ...]:
    first, last = snapshots.first, snapshots.last
    if first is not None and last is not None and first > last:
        raise InvalidRequest.field("/snapshots/first", f"{first} comes after the last, {last}")
    years = tuple(years_of(series, snapshots, cutoff))
    if len(years) > MOST_SNAPSHOTS:
        raise InvalidRequest.field(
            "/snapshots",
            f"these are {len(years)} years; at most {MOST_SNAPSHOTS} a job, so name first and last",
        )
    return years


def _check_enough(
    series: Sequence[Series],
    cutoff: date | None,
    validation: Validation,
    config: ModelConfig,
    pointer: str,
) -> None:
    """Refuse a cutoff before which no series holds one step and a horizon after it."""
    kept = [one if cutoff is None else one.until(day_end(cutoff)) for one in series]
    kept = [one for one in kept if one.length and not np.isnan(one.target).all()]
    needed = (config.horizon or 1) + 1
    left = max((_left(one.length, validation, config) for one in kept), default=0)
    if left >= needed:
        return
    until = f" up to {cutoff}" if cutoff else ""
    detail = (
        f"the longest series leaves {left} steps{until} to learn from, without what is held back"
        f" for validation; one step and the horizon need {needed}"
    )
    raise InvalidRequest.field(pointer, detail) if cutoff else InvalidRequest(detail)


def _left(length: int, validation: Validation, config: ModelConfig) -> int:
    held = held_steps(length, validation, config.horizon or 1)
    return 0 if validation.horizons and not held else length - held
