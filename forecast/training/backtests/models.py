"""Which model forecasts which windows of a backtest: chosen once, and written down."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from forecast.core.atomic import discard, publish
from forecast.core.errors import (
    Conflict,
    InvalidRequest,
    LooksAhead,
    ModelNotReady,
    VersionNotFound,
)
from forecast.core.lookahead import Provenance, may_forecast
from forecast.core.times import to_utc, year_of
from forecast.core.types import Series
from forecast.jobs.context import JobContext
from forecast.jobs.plans import BacktestPlan
from forecast.models.spec import ModelSpec
from forecast.serving.provenance import provenance_of
from forecast.store.checkpoint import digest
from forecast.store.sources import ResolvedSource
from forecast.store.versions import Version
from forecast.training.backtests.windows import Window
from forecast.training.fit_requests import FitRequest
from forecast.training.fits import Fits
from forecast.training.past_models import Fetches, model_for_year
from forecast.training.requests.checks import starting_weights

_STORED = "store:"


class Chosen(BaseModel):
    """A model, as a step of the job remembers it; nothing in it depends on the machine.

    Attributes:
        source: of the weights, exact; None for a fit of this job, and where there are none.
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

    def with_warning(self, *warnings: str) -> "Chosen":
        return self.model_copy(update={"warnings": (*self.warnings, *warnings)})


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    """What the parts of one backtest share.

    Attributes:
        series: whole; only what windows and fits cut of them goes further.
        sync: fetches snapshots that the store lacks; None to do without.
    """

    plan: BacktestPlan
    spec: ModelSpec
    series: Sequence[Series]
    windows: tuple[Window, ...]
    context: JobContext
    fits: Fits
    sync: Fetches | None = None

    def folder_of_fit(self, name: str) -> Path:
        """Name the folder of a model that was fitted for this backtest."""
        return self.context.work / "fits" / name


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Neighbouring windows that share a model, and what chooses it."""

    windows: tuple[Window, ...]
    choose: Callable[[], Chosen]

    @property
    def name(self) -> str:
        return self.windows[0].name


def groups_of(backtest: Backtest) -> list[Group]:
    """Group the windows by the model that forecasts them; choosing it may take a fit.

    `choose` raises `LooksAhead` and others where no model may be used, and says why.
    """
    windows, plan = backtest.windows, backtest.plan
    if plan.refit == "never":
        return [Group(windows, lambda: _fixed(backtest))]
    if windows[0].origin is None:
        raise InvalidRequest.field(
            "/refit", "the series have no times, so nothing can be cut in time; send start and freq"
        )
    if plan.refit == "yearly":
        return [_of_year(backtest, group) for group in _by_year(windows)]
    firsts = range(0, len(windows), plan.every)
    parts = [windows[first : first + plan.every] for first in firsts]
    return [_fitted(backtest, part, number, len(parts)) for number, part in enumerate(parts, 1)]


def _by_year(windows: Sequence[Window]) -> Iterator[tuple[Window, ...]]:
    for _, group in groupby(windows, _year):
        yield tuple(group)


def _year(window: Window) -> int:
    assert window.origin is not None
    return year_of(window.origin)


# With `refit: never`


def _fixed(backtest: Backtest) -> Chosen:
    """Choose the weights asked for, else the current version, else the model's own."""
    plan, spec = backtest.plan, backtest.spec
    source = plan.source or _current(backtest) or spec.weights
    if source is None:
        if spec.needs_training:
            raise ModelNotReady(
                f"{spec.name} has no version in the store to forecast with; train one, name a"
                " source, or send refit: every_n"
            )
        provenance = provenance_of(spec, None)
        return _checked(backtest, Chosen(), provenance, backtest.windows[0])
    found = backtest.fits.sources.resolve(source, model_id=spec.model_id)
    if found.source.startswith(_STORED):
        version = backtest.fits.store.model(spec.model_id).get(found.source.removeprefix(_STORED))
        return _checked_version(backtest, version, backtest.windows[0])
    provenance = provenance_of(spec, found)
    chosen = Chosen(source=found.source, sha256=found.sha256, cutoff=provenance.seen_until)
    return _checked(backtest, chosen, provenance, backtest.windows[0])


def _current(backtest: Backtest) -> str | None:
    try:
        return backtest.fits.store.model(backtest.spec.model_id).get("current").source
    except VersionNotFound:
        return None


def _checked_version(backtest: Backtest, version: Version, first: Window) -> Chosen:
    chosen = Chosen(
        source=version.source,
        version=version.name,
        cutoff=version.cutoff,
        sha256=version.sha256,
    )
    return _checked(backtest, chosen, version.metadata.provenance, first)


def _checked(backtest: Backtest, chosen: Chosen, seen: Provenance, first: Window) -> Chosen:
    """Refuse what has seen what is forecast, or may have; warn of it where not `strict`."""
    name = chosen.version or chosen.source or backtest.spec.name
    verdict = may_forecast(seen, first.known, name=name, strict=backtest.plan.strict)
    if not verdict.allowed:
        raise LooksAhead(
            f"{verdict.warnings[0]}; send refit: yearly or every_n, name an older version, or send"
            " strict: false"
        )
    return chosen.with_warning(*verdict.warnings)


# With `refit: yearly`


def _of_year(backtest: Backtest, windows: tuple[Window, ...]) -> Group:
    return Group(windows, lambda: _snapshot(backtest, windows))


def _snapshot(backtest: Backtest, windows: tuple[Window, ...]) -> Chosen:
    """Choose the snapshot of the year before the origins, or the closest earlier one."""
    year, model_id = _year(windows[0]), backtest.spec.model_id
    choice = model_for_year(model_id, year, backtest.fits.store, backtest.sync)
    if choice.version is None:
        said = "; ".join(("", *choice.warnings))
        raise VersionNotFound(
            f"the store holds no snapshot of {model_id} from before {year}; train snapshots, or"
            f" send refit: every_n{said}"
        )
    chosen = _checked_version(backtest, choice.version, windows[0])
    return chosen.with_warning(*choice.warnings)


# With `refit: every_n`


def _fitted(backtest: Backtest, windows: tuple[Window, ...], number: int, of: int) -> Group:
    return Group(windows, lambda: _fit(backtest, windows[0], number, of))


def _fit(backtest: Backtest, first: Window, number: int, of: int) -> Chosen:
    """Fit on what was known at an origin, for this backtest alone: nothing is published."""
    plan, spec, known = backtest.plan, backtest.spec, first.known
    assert known is not None
    name = f"{first.number:04d}"
    target = backtest.folder_of_fit(name)
    request = FitRequest(
        spec=spec,
        config=plan.config,
        series=backtest.series,
        window=first.name,
        cutoff=known,
        validation=plan.validation,
        refit=True,
        source=starting_weights(plan.source, spec.config(**plan.config), spec),
        strict=plan.strict,
        data_reference=plan.data_reference,
        number=number,
        windows=of,
    )
    if target.exists():  # its worker was killed before it could say so
        return Chosen(fit=name, cutoff=to_utc(known), sha256=digest(target))
    with _appearing(target) as draft:
        trained = backtest.fits.train(request, backtest.context, draft)
    chosen = Chosen(fit=name, cutoff=to_utc(known), sha256=digest(target))
    return chosen.with_warning(*trained.notes)


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    draft = target.with_name(f".{target.name}-draft")
    discard(draft)
    draft.mkdir(parents=True)
    yield draft
    publish(draft, target)


# What a choice leads to


def weights_of(backtest: Backtest, chosen: Chosen) -> Path | None:
    """Find the folder of a model that was chosen; None where there are no weights.

    Raises:
        Conflict: what lies there is not what was chosen.
        ForecastError: it is not there any more.
    """
    if chosen.fit is not None:
        return backtest.folder_of_fit(chosen.fit)
    if chosen.source is None:
        return None
    found: ResolvedSource = backtest.fits.sources.resolve(
        chosen.source, model_id=backtest.spec.model_id
    )
    if found.sha256 != chosen.sha256:
        raise Conflict(f"{chosen.source} was replaced while the backtest ran; retry it")
    return found.path
