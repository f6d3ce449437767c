"""What a job is to do, read and checked: a JSON document, with the series in a file beside it."""

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from forecast.core.atomic import discard, publish
from forecast.core.types import Series
from forecast.jobs.records import JobKind
from forecast.jobs.series_files import read_series, write_series

PLAN, SERIES = "plan.json", "series.json"
FIRST_YEARS = 4


class PlanPart(BaseModel):
    """Frozen, and without room for what nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Snapshots(PlanPart):
    """Which past years get a model of their own, trained on data up to 31 December of it.

    Attributes:
        first: the first year that gets one; by default the `bootstrap_years`-th of the data.
        last: the last year; by default the last that the data holds whole.
        bootstrap_years: years at the start of the data that are too few to learn from.
        skip: years that get none.
        overwrite: train also those that the store holds; a backup of the old is kept.
    """

    yearly: bool = True
    first: int | None = Field(None, ge=1677, le=2262)
    last: int | None = Field(None, ge=1677, le=2262)
    bootstrap_years: int = Field(FIRST_YEARS, ge=1, le=100)
    skip: tuple[int, ...] = Field((), max_length=600)
    overwrite: bool = False


class Validation(PlanPart):
    """What is held back of each series, to find the best weights by.

    Attributes:
        horizons: the last so many horizons of the model, in place of `share`.
        share: of the length of each series, but one horizon at least; 0 for nothing.
    """

    horizons: int | None = Field(None, ge=0, le=100_000)
    share: float = Field(0.1, ge=0, le=0.5)


class TrainingPlan(PlanPart):
    """Train one model, and one for each missing year.

    Attributes:
        config: what the caller sets of the model's configuration, `training_mode`, `lora` and
            `distributed` included.
        processes: that share one fit; more than 1 only with `config["distributed"]`.
        source: weights to start from; None to start from nothing.
        strict: refuse to start from weights that have seen what comes after a cutoff, or may.
        cutoff: last day of the data that the current model may see; None for all of it.
        snapshots: None for the current model alone.
        refit: learn all data for as long, when validation has chosen how long.
        promote: whether the new version becomes `current`.
        margin: how much better it must be for that, where `promote` is `if_better`.
        warnings: what was done to the data.
    """

    kind: Literal[JobKind.TRAINING] = JobKind.TRAINING
    model_id: str
    config: dict[str, Any] = {}
    processes: int = Field(1, ge=1, le=64)
    source: str | None = None
    strict: bool = True
    validation: Validation = Validation()
    cutoff: date | None = None
    snapshots: Snapshots | None = None
    refit: bool = True
    promote: Literal["never", "always", "if_better"] = "always"
    margin: float = Field(0.01, ge=0, lt=1)
    data_reference: str | None = None
    accept_license: bool = False
    warnings: tuple[str, ...] = ()


class BacktestPlan(PlanPart):
    """Forecast from several origins in the past, each with what was known then.

    Attributes:
        config: of the model, for loading it and for each fit.
        source: weights that every window uses where `refit` is `never`, and that a fine-tuning
            starts from; None for the current version, or the spec's weights.
        horizon: steps forecast from each origin.
        windows: origins in all; the last leaves one horizon to compare with.
        step: steps between neighbouring origins.
        refit: `never`; `every_n`, a fit at every n-th origin on the data up to it; `yearly`, the
            stored snapshot of the year before the origin.
        strict: refuse weights that have seen what is to be forecast, or may have.
    """

    kind: Literal[JobKind.BACKTEST] = JobKind.BACKTEST
    model_id: str
    config: dict[str, Any] = {}
    source: str | None = None
    validation: Validation = Validation()
    horizon: int = Field(ge=1, le=100_000)
    windows: int = Field(4, ge=1, le=1000)
    step: int = Field(1, ge=1, le=100_000)
    refit: Literal["never", "every_n", "yearly"] = "never"
    every: int = Field(1, ge=1, le=1000)
    quantile_levels: tuple[float, ...] = (0.1, 0.5, 0.9)
    strict: bool = True
    data_reference: str | None = None
    accept_license: bool = False
    warnings: tuple[str, ...] = ()


Plan = Annotated[TrainingPlan | BacktestPlan, Field(discriminator="kind")]
_PLAN: TypeAdapter[TrainingPlan | BacktestPlan] = TypeAdapter(Plan)


def write_plan(folder: Path, plan: TrainingPlan | BacktestPlan, series: Sequence[Series]) -> None:
    """Write plan and series into a folder that appears whole.

    Raises:
        FileExistsError: the folder is there.
    """
    draft = folder.with_name(f".{folder.name}-{os.getpid()}-draft")
    discard(draft)
    draft.mkdir(parents=True)
    try:
        write_series(draft / SERIES, series)
        (draft / PLAN).write_text(plan.model_dump_json(indent=2) + "\n")
        publish(draft, folder)
    finally:
        discard(draft)


def read_plan(folder: Path) -> TrainingPlan | BacktestPlan:
    """Read what `write_plan` wrote; the series are read by `read_plan_series`."""
    return _PLAN.validate_json((folder / PLAN).read_bytes())


def read_plan_series(folder: Path) -> list[Series]:
    """Read the series of a plan, whole: nothing is cut yet."""
    return read_series(folder / SERIES)
