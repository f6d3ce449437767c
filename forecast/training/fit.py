"""One fit of a job, and what it may see once its series are cut."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from forecast.core.errors import BadData, LooksAhead
from forecast.core.lookahead import Provenance, may_forecast
from forecast.core.times import to_utc
from forecast.core.types import Series
from forecast.models.base.saved import data_sha256
from forecast.models.spec import ModelSpec
from forecast.serving.provenance import provenance_of
from forecast.store.sources import ResolvedSource, SourceResolver
from forecast.training.plan import FitPlan
from forecast.training.splitting import check_held_back

_NAMED = 5  # series in a message
_DIGITS = 16  # of a hash in a key


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """One training run of a job, before anything is cut.

    Attributes:
        plan: the configuration, the weights to start from and the validation split.
        series: whole; nothing after the cutoff goes further than `prepare`.
        name: within the job: `current`, the cutoff of a snapshot, or an origin.
        cutoff: the last moment that may be seen; None for all of the data.
        snapshot: the day that it is a snapshot of; None for a version.
        refit: learn all data for as long, once validation has chosen the weights.
        compare: measure the new version against the current one, on newer steps.
        overwrite: train it even if the store holds it; a backup of the old is kept.
        processes: that share the fit, where `config["distributed"]` is set.
        number: of the fit among the `fits` of the job, from 1.
    """

    spec: ModelSpec
    plan: FitPlan
    series: Sequence[Series]
    name: str
    cutoff: np.datetime64 | None = None
    snapshot: date | None = None
    refit: bool = False
    compare: bool = False
    overwrite: bool = False
    processes: int = 1
    number: int = 1
    fits: int = 1

    @property
    def is_shared(self) -> bool:
        """Whether processes that torchrun starts share it."""
        return self.plan.config.get("distributed") is not None


@dataclass(frozen=True, slots=True, eq=False)
class PreparedFit:
    """A fit after the cut: all that it may see, and what distinguishes it from others.

    Attributes:
        series: cut; equal to those of another fit if `data_sha256` is.
        weights: to start from; None for nothing.
        cutoff: nothing later had any part in it; None where the data has no times.
        provenance: of the model that it produces.
        notes: warnings for the caller.
    """

    series: tuple[Series, ...]
    config_sha256: str
    data_sha256: str
    weights: ResolvedSource | None
    cutoff: datetime | None
    provenance: Provenance
    notes: tuple[str, ...] = ()

    def key(self, name: str) -> str:
        """Identify the fit by what it learns, so that another job resumes its checkpoints."""
        return f"{name}-{self.config_sha256[:_DIGITS]}-{self.data_sha256[:_DIGITS]}"


def prepare(fit: Fit, sources: SourceResolver) -> PreparedFit:
    """Cut the series, and find the weights to start from.

    Raises:
        BadData: nothing is left to learn from.
        LooksAhead: the weights have seen what comes after the cutoff, or may have.
        InvalidRequest: the series are too short for the validation split.
        ForecastError: the weights cannot be loaded.
    """
    # Even without a cutoff: what is known of the future has no part in a fit.
    cut = [one.until(one.length if fit.cutoff is None else fit.cutoff) for one in fit.series]
    series = [one for one in cut if one.length]
    kept = [one for one in series if bool(np.isfinite(one.target).any())]
    if not kept:
        until = "the end" if fit.cutoff is None else str(fit.cutoff.astype("datetime64[D]"))
        raise BadData(f"nothing is observed up to {until} to learn from")
    horizon = fit.spec.config(**fit.plan.config).horizon or 1
    check_held_back([one.length for one in kept], fit.plan.validation, horizon)
    weights, start, doubts = _start(fit, sources)
    provenance = start.followed_by(_learned(kept))
    return PreparedFit(
        series=tuple(kept),
        config_sha256=_config_sha256(fit, weights),
        data_sha256=data_sha256(kept),
        weights=weights,
        cutoff=_cutoff(fit, provenance),
        provenance=provenance,
        notes=(*_left_out(series, kept), *doubts),
    )


def first_names(items: Sequence[str]) -> str:
    """List the first few items."""
    more = ", …" if len(items) > _NAMED else ""
    return ", ".join(items[:_NAMED]) + more


def _left_out(series: Sequence[Series], kept: Sequence[Series]) -> tuple[str, ...]:
    names = {one.item_id for one in kept}
    lacking = [one.item_id for one in series if one.item_id not in names]
    if not lacking:
        return ()
    return (f"left out, with nothing observed to learn from: {first_names(lacking)}",)


def _start(
    fit: Fit, sources: SourceResolver
) -> tuple[ResolvedSource | None, Provenance, tuple[str, ...]]:
    """Return the weights to start from, their provenance, and warnings about it."""
    if fit.plan.source is None:
        return None, Provenance(), ()
    weights = sources.resolve(fit.plan.source, model_id=fit.spec.model_id)
    seen = provenance_of(fit.spec, weights)
    if fit.cutoff is None:
        return weights, seen, ()
    verdict = may_forecast(seen, fit.cutoff, name=weights.source, strict=fit.plan.strict)
    if not verdict.allowed:
        raise LooksAhead(
            f"{verdict.warnings[0]}, the cutoff; start from older weights or from nothing, or send"
            " strict: false"
        )
    return weights, seen, verdict.warnings


def _config_sha256(fit: Fit, weights: ResolvedSource | None) -> str:
    """Hash all that decides the result of a fit, except the data and the machine."""
    unimportant = {"device", *fit.spec.config.operator_fields}
    config = fit.spec.config(**fit.plan.config)
    document = {
        "config": config.model_dump(mode="json", exclude=unimportant),
        "validation": fit.plan.validation.model_dump(mode="json"),
        "refit": fit.refit,
        "compare": fit.compare,
        "weights": weights and (weights.sha256 or weights.source),
        "processes": fit.processes if fit.is_shared else 1,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _cutoff(fit: Fit, provenance: Provenance) -> datetime | None:
    """Return the moment after which nothing was seen, neither now nor by the starting weights."""
    seen = provenance.seen_until if provenance.is_dated else None
    if fit.cutoff is None:
        return seen
    asked = to_utc(fit.cutoff)
    if fit.snapshot is not None:
        return asked
    if not _reaches_beyond(fit.series, fit.cutoff):
        return seen
    return max(asked, seen or asked)


def _learned(series: Sequence[Series]) -> Provenance:
    ends = [known[-1] for one in series if (known := one.known_from) is not None]
    newest = to_utc(max(ends)) if ends else None
    return Provenance(seen_until=newest, is_dated=len(ends) == len(series))


def _reaches_beyond(series: Sequence[Series], cutoff: np.datetime64) -> bool:
    return any(known[-1] > cutoff for one in series if (known := one.known_from) is not None)
