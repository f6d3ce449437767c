"""What a job is to do: one class per kind for the request, the stored plan and the child's order.

A request is a plan with its data in the same document (`requests.py`). An order is what a child
process gets: the part of the plan it needs, and the folders that it works in.
"""

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from forecast.core.times import Moment
from forecast.core.validation import WireModel
from forecast.data.inline import MAX_HORIZON
from forecast.jobs.records import JobKind
from forecast.models.base.config import DistributedConfig, LoraConfig

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _day(value: Any) -> Any:
    """Read a day; nothing else that pydantic takes for one, such as a number of seconds."""
    if value is None or isinstance(value, date):
        return value
    if not (isinstance(value, str) and _DAY.fullmatch(value)):
        raise ValueError("must be a day such as 2025-12-31")
    return date.fromisoformat(value)


def _switched(value: Any) -> Any:
    """Read true as all defaults, and false as none at all."""
    return ({} if value else None) if isinstance(value, bool) else value


Day = Annotated[date | None, BeforeValidator(_day)]
Year = Annotated[int, Field(ge=1678, le=2261)]


class Snapshots(WireModel):
    """Which past years get a model of their own, trained on data up to 31 December of the year."""

    model_config = ConfigDict(frozen=True)

    yearly: bool = Field(True, description="false for no snapshots.")
    first: Year | None = Field(
        None, description="First year; by default the `bootstrap_years`-th of the data."
    )
    last: Year | None = Field(
        None, description="Last year; by default the last that the data covers to its end."
    )
    bootstrap_years: int = Field(
        4, ge=1, le=100, description="First years of the data, too few to learn from."
    )
    skip: list[Year] = Field([], max_length=600, description="Years that get none.")
    overwrite: bool = Field(
        False, description="Train also those that are stored; a backup of the old is kept."
    )


class Validation(WireModel):
    """The validation split: the end of each series, which chooses the best weights."""

    model_config = ConfigDict(frozen=True)

    horizons: int | None = Field(
        None,
        ge=0,
        le=MAX_HORIZON,
        description="Length of the split in horizons of the model, in place of `share`.",
    )
    share: float = Field(
        0.1, ge=0, le=0.5, description="Share of each series, but one horizon at least; 0 for none."
    )


class Distributed(DistributedConfig):
    """Several processes, one per device, that share each fit."""

    model_config = ConfigDict(strict=True)

    processes: int = Field(2, ge=2, le=64)


class FitPlan(WireModel):
    """What every fit of a job shares, whether it trains a version or belongs to a backtest."""

    model_config = ConfigDict(frozen=True)
    kind: ClassVar[JobKind]

    config: dict[str, Any] = Field(
        {},
        description="The model's own configuration: `horizon`, `context_length`, `max_epochs`, …",
        examples=[{"horizon": 3, "context_length": 8, "max_epochs": 1}],
    )
    source: str | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="Weights to start from, as in initialization, such as `store:current`.",
    )
    validation: Validation = Field(
        Validation(), description="The end of each series, which chooses the best weights."
    )
    strict: bool = Field(
        True,
        description="Refuse (`looks_ahead`) weights that have seen what comes after a cutoff or an"
        " origin, or may have; false warns. `/train/<model_id>` warns by default.",
    )
    data_reference: str | None = Field(
        None,
        max_length=1024,
        description="Where the data came from, for the record; by default the name it was read by.",
    )
    accept_license: bool = Field(
        False, description="Accept weights whose license forbids commercial use."
    )


class TrainingPlan(FitPlan):
    """What a training does, without its data."""

    kind = JobKind.TRAINING

    mode: Literal["from_scratch", "fine_tune"] | None = Field(
        None, description="The same as `config.training_mode`."
    )
    lora: Annotated[
        dict[str, Any] | None,
        BeforeValidator(_switched, json_schema_input_type=bool | LoraConfig | None),
    ] = Field(None, description="Train adapters; true for the family's defaults.")
    distributed: Distributed | None = Field(None, description="Several processes share each fit.")
    cutoff: Day = Field(
        None,
        description="Last day of the data that the current model may see.",
        examples=["2025-12-31"],
    )
    snapshots: Annotated[
        Snapshots | None,
        BeforeValidator(_switched, json_schema_input_type=bool | Snapshots | None),
    ] = Field(None, description="A model of each past year too; true for all years there are.")
    refit: bool | None = Field(
        None,
        description="When validation has chosen how long to train, learn all data for as long; by"
        " default unless promote is never.",
    )
    promote: Literal["never", "always", "if_better"] = Field(
        "always", description="Whether the new version becomes `current`."
    )
    promotion_margin: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="Of `if_better`: by what share MASE and WQL, on average, must be lower.",
    )

    @property
    def processes(self) -> int:
        """Processes that share a fit."""
        return self.distributed.processes if self.distributed else 1

    @property
    def learns_all(self) -> bool:
        """Whether the validation split is learned in the end."""
        return self.promote != "never" if self.refit is None else self.refit


class BacktestPlan(FitPlan):
    """What a backtest does, without its data."""

    kind = JobKind.BACKTEST

    horizon: int = Field(ge=1, le=MAX_HORIZON, description="Steps forecast from each origin.")
    windows: int = Field(4, ge=1, le=1000, description="Origins in all.")
    step: int = Field(1, ge=1, le=MAX_HORIZON, description="Steps between neighbouring origins.")
    refit: Literal["never", "every_n", "yearly"] = Field(
        "never",
        description="`never`: the same weights for all; `every_n`: a fit at every n-th origin, on"
        " the data up to it; `yearly`: the snapshot of the year before.",
    )
    every: int = Field(1, ge=1, le=1000, description="The n of `every_n`.")
    quantile_levels: list[float] | None = Field(
        None, max_length=99, description="Levels in (0, 1); by default 0.1, 0.5 and 0.9."
    )
    version: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description="Version or alias in the store, in place of `source`.",
    )


# Orders to a child process


class Rival(BaseModel):
    """The version of the same family that a new one is compared with.

    Attributes:
        seen: moment of the newest data it has seen; later steps are compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    weights: Path
    seen: Moment


class FitOrder(BaseModel):
    """Train a model. The series lie beside the order and hold only what the fit may see.

    Attributes:
        refit: learn all series again for as long, once validation has chosen the weights.
        weights: folder to start from; None to start from nothing.
        target: empty folder for the trained model.
        rival: compared with on steps that chose nothing; None for no comparison.
        checkpoints: folder for the state of an unfinished fit, from which it resumes.
        kept_checkpoints: how many of them are kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["fit"] = "fit"
    model_id: str
    plan: FitPlan
    refit: bool = False
    weights: Path | None
    target: Path
    rival: Rival | None = None
    checkpoints: Path | None = None
    kept_checkpoints: int = 3


class ForecastOrder(BaseModel):
    """Forecast files of series, which hold nothing after their origins.

    Attributes:
        weights: folder of the model; None for one that needs no weights.
        files: of series, in the order's folder; the forecasts of each go beside it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["forecast"] = "forecast"
    model_id: str
    config: dict[str, Any]
    weights: Path | None
    files: tuple[str, ...]
    horizon: int
    quantile_levels: tuple[float, ...] = ()


_ORDER: TypeAdapter[FitOrder | ForecastOrder] = TypeAdapter(
    Annotated[FitOrder | ForecastOrder, Field(discriminator="action")]
)
ORDER, SERIES = "order.json", "series.json"


def write_order(folder: Path, order: FitOrder | ForecastOrder) -> None:
    (folder / ORDER).write_text(order.model_dump_json())


def read_order(folder: Path) -> FitOrder | ForecastOrder:
    return _ORDER.validate_json((folder / ORDER).read_bytes())
