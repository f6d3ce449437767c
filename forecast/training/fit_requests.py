"""One fit of a job: what is asked, and what it comes to after the cut."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

from forecast.core.errors import BadData, LooksAhead
from forecast.core.lookahead import Provenance, may_forecast
from forecast.core.times import to_utc
from forecast.core.types import Series
from forecast.jobs.plans import Validation
from forecast.models.base.saved import data_sha256
from forecast.models.spec import ModelSpec
from forecast.serving.provenance import provenance_of
from forecast.store.sources import ResolvedSource, SourceResolver
from forecast.training.splitting import check_held_back

_NAMED = 5  # series in a message
_DIGITS = 16  # of a hash in the name of a run


@dataclass(frozen=True, slots=True, eq=False)
class FitRequest:
    """One fit, before anything is cut.

    Attributes:
        config: what the caller sets of the model's configuration.
        series: whole; what lies after the cutoff goes no further than the cut.
        window: a name within the job: `current`, or the cutoff.
        cutoff: the last moment that may be seen; None for all that there is.
        snapshot: the day that it is a snapshot of; None for a version.
        source: weights to start from; None to start from nothing.
        refit: learn all data for as long, when validation has chosen the weights.
        compare: measure the version beside the one that is current, on newer steps.
        strict: refuse to start from weights that have seen what comes after the cutoff, or may.
        processes: that share the fit, where `config["distributed"]` is set.
        overwrite: train it though the store holds it; a backup of the old is kept.
        number: of the window among the `windows` of the job, from 1.
    """

    spec: ModelSpec
    config: Mapping[str, Any]
    series: Sequence[Series]
    window: str
    cutoff: np.datetime64 | None = None
    snapshot: date | None = None
    validation: Validation = Validation()
    refit: bool = False
    compare: bool = False
    source: str | None = None
    strict: bool = True
    processes: int = 1
    data_reference: str | None = None
    overwrite: bool = False
    number: int = 1
    windows: int = 1

    @property
    def is_shared(self) -> bool:
        """Whether processes that torchrun starts share it."""
        return self.config.get("distributed") is not None


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A fit, after the cut: all that it may see, and what tells it from others.

    Attributes:
        series: cut; equal to those of another fit where `data_sha256` is.
        weights: to start from; None for nothing.
        cutoff: nothing later had any part in it; None where the data has no times.
        provenance: of what comes of it.
        notes: what the caller should know.
    """

    series: tuple[Series, ...]
    config_sha256: str
    data_sha256: str
    weights: ResolvedSource | None
    cutoff: datetime | None
    provenance: Provenance
    notes: tuple[str, ...] = ()

    def run(self, window: str) -> str:
        """Name the fit, whatever job does it."""
        return f"{window}-{self.config_sha256[:_DIGITS]}-{self.data_sha256[:_DIGITS]}"


def prepared(request: FitRequest, sources: SourceResolver) -> Prepared:
    """Cut, and find the weights to start from.

    Raises:
        BadData: nothing is left to learn from.
        LooksAhead: the weights have seen what comes after the cutoff, or may have.
        InvalidRequest: the series are too short for the validation split.
        ForecastError: the weights cannot be had.
    """
    series = cut_series(request.series, request.cutoff)
    kept = [one for one in series if bool(np.isfinite(one.target).any())]
    if not kept:
        raise BadData(f"nothing is observed up to {_text(request.cutoff)} to learn from")
    horizon = request.spec.config(**request.config).horizon or 1
    check_held_back([one.length for one in kept], request.validation, horizon)
    weights, start, doubts = _start(request, sources)
    provenance = start.followed_by(_learned(kept))
    return Prepared(
        series=tuple(kept),
        config_sha256=_config_sha256(request, weights),
        data_sha256=data_sha256(kept),
        weights=weights,
        cutoff=_cutoff(request, provenance),
        provenance=provenance,
        notes=(*_left_out(series, kept), *doubts),
    )


def cut_series(series: Sequence[Series], cutoff: np.datetime64 | None) -> list[Series]:
    """Keep what a fit may see: nothing after the cutoff, and nothing that is known ahead."""
    parts = [one.until(one.length if cutoff is None else cutoff) for one in series]
    return [part for part in parts if part.length]


def _left_out(series: Sequence[Series], kept: Sequence[Series]) -> tuple[str, ...]:
    names = {one.item_id for one in kept}
    lacking = [one.item_id for one in series if one.item_id not in names]
    if not lacking:
        return ()
    return (f"left out, with nothing observed to learn from: {named(lacking)}",)


def named(items: Sequence[str]) -> str:
    """Name the first of some items."""
    more = ", …" if len(items) > _NAMED else ""
    return ", ".join(items[:_NAMED]) + more


def _start(
    request: FitRequest, sources: SourceResolver
) -> tuple[ResolvedSource | None, Provenance, tuple[str, ...]]:
    """Find the weights to start from, what they have seen, and why that may be too much."""
    if request.source is None:
        return None, Provenance(), ()
    weights = sources.resolve(request.source, model_id=request.spec.model_id)
    seen = provenance_of(request.spec, weights)
    if request.cutoff is None:
        return weights, seen, ()
    verdict = may_forecast(seen, request.cutoff, name=weights.source, strict=request.strict)
    if not verdict.allowed:
        raise LooksAhead(
            f"{verdict.warnings[0]}, the cutoff; start from older weights or from nothing, or send"
            " strict: false"
        )
    return weights, seen, verdict.warnings


def _config_sha256(request: FitRequest, weights: ResolvedSource | None) -> str:
    """Hash all that decides what comes of a fit but the data, and where it runs."""
    unimportant = {"device", *request.spec.config.operator_fields}
    document = {
        "config": request.spec.config(**request.config).model_dump(
            mode="json", exclude=unimportant
        ),
        "validation": request.validation.model_dump(mode="json"),
        "refit": request.refit,
        "compare": request.compare,
        "weights": weights and (weights.sha256 or weights.source),
        "processes": request.processes if request.is_shared else 1,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _cutoff(request: FitRequest, provenance: Provenance) -> datetime | None:
    """Name the moment after which nothing was seen: by this fit, or by what it starts from."""
    seen = provenance.seen_until if provenance.is_dated else None
    if request.cutoff is None:
        return seen
    asked = to_utc(request.cutoff)
    if request.snapshot is not None:
        return asked
    if not _reaches_beyond(request.series, request.cutoff):
        return seen
    return max(asked, seen or asked)


def _learned(series: Sequence[Series]) -> Provenance:
    ends = [known[-1] for one in series if (known := one.known_from) is not None]
    newest = to_utc(max(ends)) if ends else None
    return Provenance(seen_until=newest, is_dated=len(ends) == len(series))


def _reaches_beyond(series: Sequence[Series], cutoff: np.datetime64) -> bool:
    return any(known[-1] > cutoff for one in series if (known := one.known_from) is not None)


def _text(cutoff: np.datetime64 | None) -> str:
    return "the end" if cutoff is None else str(cutoff.astype("datetime64[D]"))
