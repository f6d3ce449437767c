"""Forecasts over a whole history, none of which has seen its own year: features to learn from."""

import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecast.core.errors import BadData, InvalidRequest, LooksAhead, UnknownModel
from forecast.core.frequency import Timestamps
from forecast.core.lookahead import may_forecast
from forecast.core.spacing import Placement, infer, place
from forecast.core.times import to_datetime64
from forecast.core.types import FloatArray, ForecastTask, Series
from forecast.jobs.context import JobContext
from forecast.models import MODEL_REGISTRY
from forecast.models.spec import ModelSpec
from forecast.store.versions import ModelStore, Version
from forecast.training.child import ModelProcess
from forecast.training.forecasting import PastModel, context_outside_a_job, forecast_in_child
from forecast.training.past_models import SnapshotSource, model_for_year
from forecast.training.trainer import Fetches

MOMENTUM_STEPS = 4

Fallback = Literal["momentum", "sprout"]
FeatureSource = Literal["momentum", "sprout", "snapshot", "remote", "earlier"]
RowNumbers = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class PriceGrid:
    """T rows of N items, which may have gaps, on a grid without any.

    Attributes:
        prices: [T, N]; NaN where an item is not listed.
        dates: [T] datetime64[s], increasing.
        steps: [T], the place of each row on the grid.
        items: the N items on the whole grid; a gap is NaN.
    """

    prices: FloatArray
    dates: Timestamps
    steps: npt.NDArray[np.int64]
    items: tuple[Series, ...]

    @classmethod
    def of(cls, prices: Any, dates: Any, item_ids: Sequence[str]) -> "PriceGrid":
        """Check what a caller brings, and find its frequency.

        Raises:
            InvalidRequest: the shapes do not fit, or the dates follow no regular step.
            BadData: a price is infinite.
        """
        values, times = np.asarray(prices, dtype=float), np.asarray(dates, dtype="datetime64[s]")
        if values.ndim != 2 or values.shape != (len(times), len(item_ids)):
            raise InvalidRequest(
                f"prices of shape {values.shape} do not fit {len(times)} dates and"
                f" {len(item_ids)} items; send a row a date and a column an item"
            )
        if len(set(item_ids)) < len(item_ids):
            raise InvalidRequest("two items have the same id")
        if np.isinf(values).any():
            raise BadData("a price is infinite; send NaN where there is none")
        placed = _placed(times)
        steps = placed.positions
        spread = np.full((steps[-1] + 1, len(item_ids)), np.nan)
        spread[steps] = values
        items = tuple(
            Series(column[None], item_id=item_id, start=placed.start, freq=placed.freq)
            for column, item_id in zip(spread.T, item_ids, strict=True)
        )
        return cls(values, times, steps, items)

    @property
    def years(self) -> npt.NDArray[np.int64]:
        """The calendar year of each row: [T]."""
        return self.dates.astype("datetime64[Y]").astype(np.int64) + 1970

    def momentum(self) -> FloatArray:
        """Measure (p[t] - p[t-4]) / p[t-4], in steps of the grid: [T, N].

        NaN where there is no price now or 4 steps before.
        """
        spread = np.concatenate([item.target for item in self.items]).T  # [L, N]
        before = self.steps - MOMENTUM_STEPS
        there = before >= 0
        changes = np.full(self.prices.shape, np.nan)
        changes[there] = relative_change(self.prices[there], spread[before[there]])
        return changes

    def known(self, row: int, item: int, context: int) -> Series:
        """Give the last `context` steps of an item, up to and including a row."""
        return self.items[item].until(int(self.steps[row]) + 1).last(context)


def relative_change(now: FloatArray, before: FloatArray) -> FloatArray:
    """Measure (now - before) / before; NaN where `before` is 0."""
    there = np.where(before == 0, np.nan, before)
    change: FloatArray = (now - there) / there
    return change


def _placed(times: Timestamps) -> Placement:
    if (np.diff(times).astype(np.int64) <= 0).any():
        raise InvalidRequest("the dates must increase from row to row")
    placed = place(times, infer(times))
    if placed.moved is not None:
        raise InvalidRequest(f"{times[placed.moved]} is beside the regular step of the dates")
    return placed


@dataclass(frozen=True, slots=True, eq=False)
class ModelYear:
    """The rows [R] of a year, and the model that forecasts them.

    Attributes:
        version: None for the fallback model, whose weights come with the gateway.
    """

    rows: RowNumbers
    version: Version | None
    how: SnapshotSource | Literal["sprout"]

    @property
    def weights_name(self) -> str:
        return self.version.name if self.version else f"package:{self.how}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkForward:
    """How features are made.

    Attributes:
        store: holds a snapshot for the end of each year.
        process: how the process of a model is run.
        sync: fetches snapshots that the store lacks; None to do without them.
        horizon: steps ahead whose price is forecast.
        fallback: what rows without a snapshot get: the momentum, or a forecast of `sprout`, which
            was trained on no real series and so has seen nothing of any year.
        bootstrap_years: first calendar years of the data, whose rows get the fallback.
        context: the most steps before a row that a model is shown.
        strict: refuse snapshots that have seen the year they are to forecast, or may have.
        workers: years at once, each in a process of its own.
        config: what wins over the configuration of a snapshot, such as `device`.
    """

    store: ModelStore
    process: Callable[[ModelSpec], ModelProcess]
    sync: Fetches | None = None
    horizon: int = 4
    fallback: Fallback = "momentum"
    bootstrap_years: int = 4
    context: int = 512
    strict: bool = True
    workers: int = 1
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing."""
        if self.fallback not in get_args(Fallback):
            raise InvalidRequest(f"fallback must be one of {', '.join(get_args(Fallback))}")
        least = {"horizon": 1, "bootstrap_years": 0, "context": 1, "workers": 1}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise InvalidRequest(f"{name} must be at least {lowest}")


@dataclass(frozen=True, slots=True, eq=False)
class ForecastFeatures:
    """An expected relative change for every row and item, and where it is from.

    Attributes:
        values: [T, N]; NaN where an item has no price, or too few to say anything.
        dates: [T] datetime64[s].
        sources: of each row: the fallback (`momentum` or `sprout`), the `snapshot` of the year
            before, one just fetched from a `remote`, or an `earlier` one.
        versions: name of each row's model; `package:sprout` for that, empty for the momentum.
        warnings: why a year did not get its own snapshot.
    """

    values: FloatArray
    dates: Timestamps
    item_ids: tuple[str, ...]
    sources: tuple[FeatureSource, ...]
    versions: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Make a table of a row for each date and item: date, item_id, value, source, version."""
        items = len(self.item_ids)
        return pd.DataFrame(
            {
                "date": np.repeat(self.dates, items),
                "item_id": np.tile(np.array(self.item_ids, dtype=object), len(self.dates)),
                "value": self.values.ravel(),
                "source": np.repeat(np.array(self.sources, dtype=object), items),
                "version": np.repeat(np.array(self.versions, dtype=object), items),
            }
        )


def build_forecast_features(
    prices: Any, dates: Any, item_ids: Sequence[str], model_id: str, how: WalkForward
) -> ForecastFeatures:
    """Forecast the relative change over the next steps at every row of a history.

    Row t of year N is (ŷ[t+h] - p[t]) / p[t], forecast from the prices up to and including row t
    by a model that has seen nothing after 31 December of year N-1: the snapshot of that day in
    the store, the same from a remote, or the closest earlier one. Without any, and in the first
    years, it is the 4-step momentum (p[t] - p[t-4]) / p[t-4], which is NaN in the first 4 rows, or
    a forecast of the fallback model.

    Args:
        prices: [T, N] on a regular grid of time, such as weekly closes; NaN where not listed.
        dates: [T], increasing; rows may be missing.
        item_ids: [N].

    Raises:
        UnknownModel: there is no model of this id.
        InvalidRequest: shapes or dates do not fit together.
        LooksAhead: a snapshot has seen the year it is to forecast.
        ForecastError: a snapshot cannot be loaded, or cannot forecast so far.
    """
    if model_id not in MODEL_REGISTRY:
        raise UnknownModel(f"there is no model {model_id!r}; known are {', '.join(MODEL_REGISTRY)}")
    grid = PriceGrid.of(prices, dates, item_ids)
    years, warnings = _years(grid, model_id, how)
    values = grid.momentum()
    sources: list[FeatureSource] = ["momentum"] * len(values)
    versions = [""] * len(values)
    for year, forecast in zip(years, _forecast(grid, years, how), strict=True):
        values[year.rows] = forecast
        for row in year.rows:
            sources[row], versions[row] = year.how, year.weights_name
    return ForecastFeatures(
        values, grid.dates, tuple(item_ids), tuple(sources), tuple(versions), tuple(warnings)
    )


def _years(grid: PriceGrid, model_id: str, how: WalkForward) -> tuple[list[ModelYear], list[str]]:
    """Choose a model for each year; one that gets the momentum is left out."""
    years: list[ModelYear] = []
    warnings: list[str] = []
    of_rows = grid.years
    for number in range(of_rows[0], of_rows[-1] + 1):
        rows = np.flatnonzero(of_rows == number)
        if not rows.size:
            continue
        if number >= of_rows[0] + how.bootstrap_years:
            choice = model_for_year(model_id, number, how.store, how.sync)
            warnings += choice.warnings
            if choice.version is not None and choice.how is not None:
                warnings += _doubts(choice.version, grid.dates[rows[0]], strict=how.strict)
                years.append(ModelYear(rows, choice.version, choice.how))
                continue
            instead = "the momentum" if how.fallback == "momentum" else how.fallback
            warnings.append(f"there is no snapshot from before {number}; it gets {instead}")
        if how.fallback != "momentum":
            years.append(ModelYear(rows, None, how.fallback))
    return years, warnings


def _doubts(version: Version, first: np.datetime64, *, strict: bool) -> tuple[str, ...]:
    """Say, or refuse, that a version has seen the first row that it is to forecast, or may have."""
    before = to_datetime64(first) - np.timedelta64(1, "s")
    seen = version.metadata.provenance
    verdict = may_forecast(seen, before, name=version.name, strict=strict)
    if not verdict.allowed:
        raise LooksAhead(f"{verdict.warnings[0]}; train an older snapshot, or pass strict=False")
    return verdict.warnings


def _forecast(grid: PriceGrid, years: Sequence[ModelYear], how: WalkForward) -> list[FloatArray]:
    """Forecast the years, some at once; the first failure ends them all."""
    if not years:
        return []
    stop = threading.Event()
    with tempfile.TemporaryDirectory(prefix="walk-forward-") as name:
        folders = [Path(name, str(number)) for number in range(len(years))]
        contexts = [context_outside_a_job(folder, stop.is_set) for folder in folders]
        with ThreadPoolExecutor(how.workers, thread_name_prefix="walk-forward") as pool:
            tasks = [
                pool.submit(_forecast_year, grid, year, how, context)
                for year, context in zip(years, contexts, strict=True)
            ]
            try:
                return _results(tasks)
            except BaseException:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _results(tasks: Sequence[Future[FloatArray]]) -> list[FloatArray]:
    """Wait for all, or for the first that fails, whose error is raised."""
    done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
    for task in done:
        task.result()
    return [task.result() for task in tasks]


def _forecast_year(
    grid: PriceGrid, year: ModelYear, how: WalkForward, context: JobContext
) -> FloatArray:
    """Forecast the relative change at each row of a year: [R, N]."""
    version = year.version
    spec = MODEL_REGISTRY[version.metadata.model_id if version else year.how]
    now = grid.prices[year.rows]
    cells = _cells(grid, year.rows, how.context, spec.capabilities.min_context)
    changes = np.full(now.shape, np.nan)
    if not cells:
        return changes
    model = _past_model(spec, version, how)
    task = ForecastTask(how.horizon, quantile_levels=())
    with how.store.model(spec.model_id).hold(version) if version else nullcontext():
        forecasts = forecast_in_child(
            model, list(cells.values()), task, context, folder=context.folder
        )
    ahead = np.array([one.mean[0, -1] for one in forecasts])
    rows, items = np.array(list(cells)).T
    changes[rows, items] = relative_change(ahead, now[rows, items])
    return changes


def _past_model(spec: ModelSpec, version: Version | None, how: WalkForward) -> PastModel:
    if version is None:
        return PastModel(spec, how.process(spec), spec.packaged_weights)
    return PastModel(spec, how.process(spec), version.path, how.config)


def _cells(
    grid: PriceGrid, rows: RowNumbers, context: int, min_context: int
) -> dict[tuple[int, int], Series]:
    """List what can be forecast, by its row in the year and its item, with what was known."""
    cells = {}
    for number, row in enumerate(rows):
        for item in np.flatnonzero(~np.isnan(grid.prices[row])):
            series = grid.known(int(row), int(item), context)
            if np.count_nonzero(~np.isnan(series.target)) >= max(1, min_context):
                cells[number, int(item)] = series
    return cells
