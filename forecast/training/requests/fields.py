"""What a caller sends to train or backtest: the data in one of five shapes, and what to do."""

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from forecast.core.labels import Label
from forecast.core.validation import WireModel
from forecast.data.inline import LABEL_FIELD, MAX_HORIZON, SeriesInput
from forecast.data.named_file import KNOWN_FUTURE_FIELD, Role
from forecast.data.tables import Table, TableSchema
from forecast.jobs.plans import FIRST_YEARS
from forecast.models.base.config import LoraConfig

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _day(value: Any) -> Any:
    """Read a day; nothing else that pydantic takes for one, such as a number of seconds."""
    if value is None:
        return None
    if not (isinstance(value, str) and _DAY.fullmatch(value)):
        raise ValueError("must be a day such as 2025-12-31")
    return date.fromisoformat(value)


Day = Annotated[date | None, BeforeValidator(_day)]
Year = Annotated[int, Field(ge=1678, le=2261)]


def _switched(value: Any) -> Any:
    """Take true for all defaults, and false for nothing."""
    return ({} if value else None) if isinstance(value, bool) else value


class SnapshotsFields(WireModel):
    """Which past years get a model of their own, trained on data up to 31 December of it."""

    yearly: bool = Field(True, description="false for no snapshots.")
    first: Year | None = Field(
        None, description="First year; by default the `bootstrap_years`-th of the data."
    )
    last: Year | None = Field(
        None, description="Last year; by default the last that the data hold whole."
    )
    bootstrap_years: int = Field(
        FIRST_YEARS, ge=1, le=100, description="First years of the data, too few to learn from."
    )
    skip: list[Year] = Field([], max_length=600, description="Years that get none.")
    overwrite: bool = Field(
        False, description="Train also those that are stored; a backup of the old is kept."
    )


class ValidationFields(WireModel):
    """What is held back of each series, to find the best weights by."""

    horizons: int | None = Field(
        None,
        ge=0,
        le=MAX_HORIZON,
        description="The last so many horizons of the model, in place of `share`.",
    )
    share: float = Field(
        0.1, ge=0, le=0.5, description="Share of each series, but one horizon at least; 0 for none."
    )


class DistributedFields(WireModel):
    """Several processes, one per device, that share each fit."""

    strategy: Literal["ddp", "fsdp", "deepspeed"] = "ddp"
    processes: int = Field(2, ge=2, le=64)
    backend: Literal["gloo", "nccl"] | None = None
    timeout_s: float = Field(1800.0, gt=0, le=86_400)


class CommonFields(WireModel):
    """What training and backtests share."""

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
    validation: ValidationFields | None = Field(
        None, description="What is held back to find the best weights by."
    )
    data_reference: str | None = Field(
        None,
        max_length=1024,
        description="Where the data came from, for the record; by default the name it was read by.",
    )
    accept_license: bool = Field(
        False, description="Accept weights whose license forbids commercial use."
    )


class TrainingFields(CommonFields):
    """What a training is, beside its data."""

    mode: Literal["from_scratch", "fine_tune"] | None = Field(
        None, description="The same as `config.training_mode`."
    )
    lora: Annotated[
        dict[str, Any] | None,
        BeforeValidator(_switched, json_schema_input_type=bool | LoraConfig | None),
    ] = Field(None, description="Train adapters; true for the family's defaults.")
    distributed: DistributedFields | None = Field(
        None, description="Several processes share each fit."
    )
    cutoff: Day = Field(
        None,
        description="Last day of the data that the current model may see.",
        examples=["2025-12-31"],
    )
    snapshots: Annotated[
        SnapshotsFields | None,
        BeforeValidator(_switched, json_schema_input_type=bool | SnapshotsFields | None),
    ] = Field(None, description="A model of each past year too; true for all years there are.")
    refit: bool | None = Field(
        None,
        description="When validation has chosen how long to train, learn all data for as long; by"
        " default unless promote is never.",
    )
    strict: bool | None = Field(
        None,
        description="Refuse (`looks_ahead`), rather than warn of, weights to start from that have"
        " seen what comes after a cutoff, or may have; true unless false is sent.",
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
    validation_horizons: int | None = Field(
        None, ge=0, le=MAX_HORIZON, description="Older name of `validation.horizons`."
    )
    validation_share: float | None = Field(
        None, ge=0, le=0.5, description="Older name of `validation.share`."
    )


class BacktestFields(CommonFields):
    """What a backtest is, beside its data."""

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
    strict: bool = Field(
        True,
        description="Refuse (`looks_ahead`), rather than warn of, weights that have seen what is"
        " to be forecast, or may have.",
    )
    version: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description="Version or alias in the store, in place of `source`.",
    )


class InlineData(WireModel):
    """Series that are sent inline."""

    inputs: list[SeriesInput] = Field(min_length=1, description="The series to learn from.")


class TableData(WireModel):
    """The items of a table."""

    data: Table = Field(description="Columns, or rows, as in a forecast.")
    schema_: TableSchema = Field(alias="schema", description="Which column is what.")


_SOURCE = Field(
    min_length=1,
    max_length=4096,
    description="An http(s) URL, `local://data/…` or a file under the data folder.",
    examples=["local://data/sales.csv"],
)


class NamedFileData(WireModel):
    """Target columns of a file with a `date` column; each is a series of its own."""

    data_source_url_or_path: str = _SOURCE
    data_definition: dict[str, Role] = Field(
        min_length=1, description="Column → role.", examples=[{"sales": "target"}]
    )
    known_future: list[str] = KNOWN_FUTURE_FIELD
    label: Label | None = LABEL_FIELD


class LongFileData(WireModel):
    """The items of a file in long format."""

    data_source_url_or_path: str = _SOURCE
    schema_: TableSchema = Field(alias="schema", description="Which column is what.")


class DatasetData(WireModel):
    """A dataset that was put here under a name."""

    dataset: str = Field(min_length=1, max_length=63, examples=["sales"])
    schema_: TableSchema | None = Field(
        None, alias="schema", description="Which column is what, in place of what is kept."
    )


class InlineTraining(InlineData, TrainingFields):
    """Learn from series that are sent inline."""


class TableTraining(TableData, TrainingFields):
    """Learn from the items of a table."""


class NamedFileTraining(NamedFileData, TrainingFields):
    """Learn from target columns of a file that is named; each is a series of its own."""


class LongFileTraining(LongFileData, TrainingFields):
    """Learn from the items of a file in long format that is named."""


class DatasetTraining(DatasetData, TrainingFields):
    """Learn from a dataset that was put here under a name."""


class InlineBacktest(InlineData, BacktestFields):
    """Backtest on series that are sent inline."""


class TableBacktest(TableData, BacktestFields):
    """Backtest on the items of a table."""


class NamedFileBacktest(NamedFileData, BacktestFields):
    """Backtest on target columns of a file that is named."""


class LongFileBacktest(LongFileData, BacktestFields):
    """Backtest on the items of a file in long format that is named."""


class DatasetBacktest(DatasetData, BacktestFields):
    """Backtest on a dataset that was put here under a name."""


class DatasetTable(TableData):
    """A table that is kept under a name."""


_FILE = Annotated[str, WithJsonSchema({"type": "string", "format": "binary"})]


class DatasetForm(WireModel):
    """The parts of an upload that is kept; `schema` is JSON."""

    file: _FILE = Field(
        description="CSV, JSON, XLSX, Parquet or Arrow; told by the ending of its name."
    )
    schema_: TableSchema = Field(alias="schema", description="Which column is what.")


class TrainingForm(DatasetForm):
    """The parts of an upload to learn from; `schema` and `parameters` are JSON."""

    parameters: TrainingFields = Field(
        default_factory=TrainingFields, description="What a training is, beside its data."
    )
    dataset: str | None = Field(
        None, max_length=63, description="Keep the upload as a dataset of this name."
    )


class BacktestForm(DatasetForm):
    """The parts of an upload to backtest on; `schema` and `parameters` are JSON."""

    parameters: BacktestFields = Field(description="What a backtest is, beside its data.")
    dataset: str | None = Field(
        None, max_length=63, description="Keep the upload as a dataset of this name."
    )


TRAINING_SHAPES: tuple[type[TrainingFields], ...] = (
    InlineTraining,
    TableTraining,
    NamedFileTraining,
    LongFileTraining,
    DatasetTraining,
)
BACKTEST_SHAPES: tuple[type[BacktestFields], ...] = (
    InlineBacktest,
    TableBacktest,
    NamedFileBacktest,
    LongFileBacktest,
    DatasetBacktest,
)
