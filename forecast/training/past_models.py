"""Which model may forecast a moment of the past: for backtests, and for a whole history."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from forecast.core.atomic import discard, publish
from forecast.core.errors import (
    Conflict,
    ForecastError,
    LooksAhead,
    ModelNotReady,
    VersionNotFound,
)
from forecast.core.lookahead import Provenance, may_forecast
from forecast.core.times import to_utc, year_of
from forecast.core.types import Series
from forecast.jobs.context import JobContext
from forecast.models.spec import ModelSpec
from forecast.serving.provenance import provenance_of
from forecast.store.checkpoint import digest
from forecast.store.names import CURRENT, snapshot_name
from forecast.store.versions import ModelStore, Version
from forecast.training.checks import starting_weights
from forecast.training.fit import Fit
from forecast.training.forecasting import Origin
from forecast.training.plan import BacktestPlan
from forecast.training.trainer import Fetches, Trainer

log = logging.getLogger(__name__)

SnapshotSource = Literal["snapshot", "remote", "earlier"]

_STORED = "store:"


@dataclass(frozen=True, slots=True)
class YearModel:
    """The stored model for a year.

    Attributes:
        version: None where none may be used.
        how: the snapshot asked for, in the store or just fetched, or an earlier one.
        warnings: why a better one was not taken.
    """

    version: Version | None = None
    how: SnapshotSource | None = None
    warnings: tuple[str, ...] = ()


def model_for_year(
    model_id: str, year: int, store: ModelStore, remote: Fetches | None = None
) -> YearModel:
    """Choose the snapshot of 31 December of the year before: local, remote, closest earlier."""
    day = date(year - 1, 12, 31)
    shelf = store.model(model_id)
    warnings: list[str] = []
    if here := shelf.snapshot(day):
        return YearModel(here, "snapshot")
    if fetched := _fetched(model_id, day, remote, warnings):
        return YearModel(fetched, "remote", tuple(warnings))
    if earlier := shelf.closest_snapshot(day):
        text = f"there is no {snapshot_name(day)}; {earlier.name} is used for {year}"
        return YearModel(earlier, "earlier", (*warnings, text))
    return YearModel(warnings=tuple(warnings))


def _fetched(
    model_id: str, day: date, remote: Fetches | None, warnings: list[str]
) -> Version | None:
    if remote is None:
        return None
    try:
        return remote.ensure_available(model_id, snapshot_name(day))
    except ForecastError as error:
        log.warning("%s of %s was not fetched: %s", snapshot_name(day), model_id, error)
        warnings.append(f"{snapshot_name(day)} was not fetched: {error.detail}")
        return None


# The models of a backtest


class ChosenModel(BaseModel):
    """A model as a step of the job remembers it; nothing in it depends on the machine.

    Attributes:
        source: of the weights, exact; None for a fit of this job, and for a model without weights.
        fit: name of the fit among those of this job; None for weights from elsewhere.
        version: of the store; None for weights from elsewhere.
        cutoff: of what it has seen; None where not known.
    """

    model_config = ConfigDict(frozen=True)

    source: str | None = None
    fit: str | None = None
    version: str | None = None
    cutoff: datetime | None = None
    sha256: str | None = None
    warnings: tuple[str, ...] = ()

    def with_warning(self, *warnings: str) -> "ChosenModel":
        return self.model_copy(update={"warnings": (*self.warnings, *warnings)})


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    """What the parts of one backtest share.

    Attributes:
        series: whole; only what origins and fits cut of them goes further.
        warnings: about the data.
        remote: fetches snapshots that the store lacks; None to do without.
    """

    plan: BacktestPlan
    spec: ModelSpec
    series: Sequence[Series]
    origins: tuple[Origin, ...]
    warnings: tuple[str, ...]
    context: JobContext
    trainer: Trainer
    remote: Fetches | None = None

    def folder_of_fit(self, name: str) -> Path:
        """The folder of a model that was fitted for this backtest."""
        return self.context.work / "fits" / name

    def weights_of(self, chosen: ChosenModel) -> Path | None:
        """Find the folder of a chosen model; None where there are no weights.

        Raises:
            Conflict: the folder no longer holds what was chosen.
            ForecastError: it is gone.
        """
        if chosen.fit is not None:
            return self.folder_of_fit(chosen.fit)
        if chosen.source is None:
            return None
        found = self.trainer.sources.resolve(chosen.source, model_id=self.spec.model_id)
        if found.sha256 != chosen.sha256:
            raise Conflict(f"{chosen.source} was replaced while the backtest ran; retry it")
        return found.path


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Neighbouring origins that share a model, and what chooses it."""

    origins: tuple[Origin, ...]
    choose: Callable[[], ChosenModel]

    @property
    def name(self) -> str:
        return self.origins[0].name


def groups_of(backtest: Backtest) -> list[Group]:
    """Group the origins by the model that forecasts from them; choosing it may take a fit.

    `choose` raises `LooksAhead` and others where no model may be used.
    """
    origins, plan = backtest.origins, backtest.plan
    if plan.refit == "never":
        return [Group(origins, partial(_fixed, backtest))]
    if plan.refit == "yearly":
        years = [tuple(group) for _, group in groupby(origins, _year)]
        return [Group(group, partial(_snapshot, backtest, group[0])) for group in years]
    firsts = range(0, len(origins), plan.every)
    parts = [origins[first : first + plan.every] for first in firsts]
    return [
        Group(part, partial(_fit, backtest, part[0], number, len(parts)))
        for number, part in enumerate(parts, start=1)
    ]


def _year(origin: Origin) -> int:
    assert origin.time is not None
    return year_of(origin.time)


def _fixed(backtest: Backtest) -> ChosenModel:
    """Choose the weights asked for, else the current version, else the model's own."""
    plan, spec, first = backtest.plan, backtest.spec, backtest.origins[0]
    source = plan.source or _current(backtest) or spec.weights
    if source is None:
        if spec.needs_training:
            raise ModelNotReady(
                f"{spec.name} has no version in the store to forecast with; train one, name a"
                " source, or send refit: every_n"
            )
        return _checked(backtest, ChosenModel(), provenance_of(spec, None), first)
    found = backtest.trainer.sources.resolve(source, model_id=spec.model_id)
    if found.source.startswith(_STORED):
        shelf = backtest.trainer.store.model(spec.model_id)
        return _stored(backtest, shelf.get(found.source.removeprefix(_STORED)), first)
    provenance = provenance_of(spec, found)
    chosen = ChosenModel(source=found.source, sha256=found.sha256, cutoff=provenance.seen_until)
    return _checked(backtest, chosen, provenance, first)


def _current(backtest: Backtest) -> str | None:
    try:
        return backtest.trainer.store.model(backtest.spec.model_id).get(CURRENT).source
    except VersionNotFound:
        return None


def _stored(backtest: Backtest, version: Version, first: Origin) -> ChosenModel:
    chosen = ChosenModel(
        source=version.source,
        version=version.name,
        cutoff=version.cutoff,
        sha256=version.sha256,
    )
    return _checked(backtest, chosen, version.metadata.provenance, first)


def _checked(
    backtest: Backtest, chosen: ChosenModel, seen: Provenance, first: Origin
) -> ChosenModel:
    """Refuse weights that have seen what is forecast, or may have; warn where not `strict`."""
    name = chosen.version or chosen.source or backtest.spec.name
    verdict = may_forecast(seen, first.known, name=name, strict=backtest.plan.strict)
    if not verdict.allowed:
        raise LooksAhead(
            f"{verdict.warnings[0]}; send refit: yearly or every_n, name an older version, or send"
            " strict: false"
        )
    return chosen.with_warning(*verdict.warnings)


def _snapshot(backtest: Backtest, first: Origin) -> ChosenModel:
    """Choose the snapshot of the year before an origin, or the closest earlier one."""
    year, model_id = _year(first), backtest.spec.model_id
    found = model_for_year(model_id, year, backtest.trainer.store, backtest.remote)
    if found.version is None:
        why = "; ".join(("", *found.warnings))
        raise VersionNotFound(
            f"the store holds no snapshot of {model_id} from before {year}; train snapshots, or"
            f" send refit: every_n{why}"
        )
    return _stored(backtest, found.version, first).with_warning(*found.warnings)


def _fit(backtest: Backtest, first: Origin, number: int, of: int) -> ChosenModel:
    """Fit on what was known at an origin, for this backtest alone: nothing is published."""
    plan, spec, known = backtest.plan, backtest.spec, first.known
    assert known is not None
    name = f"{first.number:04d}"
    target = backtest.folder_of_fit(name)
    notes: tuple[str, ...] = ()
    if not target.exists():  # it does where the worker was killed before it could say so
        source = starting_weights(plan.source, spec.config(**plan.config), spec)
        fit = Fit(
            spec=spec,
            plan=plan.model_copy(update={"source": source}),
            series=backtest.series,
            name=first.name,
            cutoff=known,
            refit=True,
            number=number,
            fits=of,
        )
        with _appearing(target) as draft:
            notes = backtest.trainer.train(fit, backtest.context, draft).notes
    return ChosenModel(fit=name, cutoff=to_utc(known), sha256=digest(target), warnings=notes)


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    draft = target.with_name(f".{target.name}-draft")
    discard(draft)
    draft.mkdir(parents=True)
    yield draft
    publish(draft, target)
