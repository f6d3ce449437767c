"""The body of `POST training` → what to learn from, how, and starting from what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field

from forecast.core.errors import InvalidRequest, NotTrainable, UnsupportedFormat
from forecast.core.types import CovariateArray, Series
from forecast.data.file_series import series_of_file, text_columns
from forecast.data.files import frame_of_columns
from forecast.data.inline import MAX_HORIZON, SeriesInput
from forecast.data.inputs import SeriesBatch, batch_of_inputs, check_series_count
from forecast.data.named_file import NamedFileRequest, Role
from forecast.data.panels import batch_of_table
from forecast.data.policy import DataPolicy
from forecast.data.sources import read_source
from forecast.data.tables import Columns, TableSchema
from forecast.data.validation import WireModel, read_json, validated
from forecast.models.base.checks import check_training_options, check_training_series
from forecast.models.base.config import ModelConfig, TrainingMode
from forecast.models.spec import ModelSpec
from forecast.serving.initialization import checked_config

_DEFAULT_CONTEXT = 512  # of the held back part, for a model that names none


class TrainingRequest(WireModel):
    """What every shape of the request has."""

    config: dict[str, Any] = Field(
        {},
        description="The model's own configuration: `horizon`, `context_length`, `max_epochs`, …",
        examples=[{"horizon": 3, "context_length": 8, "max_epochs": 1}],
    )
    source: str | None = Field(
        None,
        max_length=1024,
        description="Weights to start from, as in initialization; by default the model's own where"
        " `training_mode` is `fine_tune`.",
    )
    validation_horizons: int | None = Field(
        None,
        ge=0,
        le=MAX_HORIZON,
        description="Hold back the last so many horizons of each series, to find the best weights"
        " by; in place of `validation_share`.",
    )
    validation_share: float = Field(
        0.1, ge=0, le=0.5, description="Hold back this share of each series; 0 for none."
    )
    data_reference: str | None = Field(
        None, max_length=1024, description="Where the data came from, for the record."
    )
    accept_license: bool = Field(
        False, description="Accept weights whose license forbids commercial use."
    )


class InlineTraining(TrainingRequest):
    """Learn from series that are sent inline."""

    inputs: list[SeriesInput] = Field(min_length=1, description="The series to learn from.")


class TableTraining(TrainingRequest):
    """Learn from the items of a table."""

    data: Columns = Field(description="Column → its values, one a row; all of one length.")
    schema_: TableSchema = Field(alias="schema", description="Which column is what.")


class NamedFileTraining(TrainingRequest):
    """Learn from target columns of a file that is named; each is a series of its own."""

    data_source_url_or_path: str = Field(
        min_length=1,
        max_length=4096,
        description="An http(s) URL, `local://data/…` or a file under the data folder, with a"
        " `date` column.",
        examples=["local://data/sales.csv"],
    )
    data_definition: dict[str, Role] = Field(
        min_length=1,
        description="Column → role. Only targets are learned from; send a table for covariates.",
        examples=[{"sales": "target"}],
    )


SHAPES: tuple[type[TrainingRequest], ...] = (InlineTraining, TableTraining, NamedFileTraining)


@dataclass(frozen=True, slots=True, eq=False)
class TrainingPlan:
    """What a job does, read and checked.

    Attributes:
        config: what the caller sets of the model's configuration.
        source: weights to start from; None to start from nothing.
        warnings: what was done to the data.
    """

    spec: ModelSpec
    config: Mapping[str, Any]
    train: tuple[Series, ...]
    validation: tuple[Series, ...]
    source: str | None = None
    data_reference: str | None = None
    accept_license: bool = False
    warnings: tuple[str, ...] = ()


def read_training(
    body: bytes, content_type: str, spec: ModelSpec, policy: DataPolicy
) -> TrainingPlan:
    """Read a request. Blocks on files and URLs.

    Raises:
        NotTrainable: the model has nothing to learn.
        InvalidRequest: names each field that is wrong.
        ForecastError: the data cannot be read, or nothing can be learned from it.
    """
    if not (spec.capabilities.trainable or spec.capabilities.fine_tunable):
        raise NotTrainable(f"{spec.name} has nothing to learn; it forecasts as it is")
    if content_type.partition(";")[0].strip().lower() not in ("", "application/json"):
        raise UnsupportedFormat("training takes application/json; name a file, or send a table")
    document = read_json(body)
    if not isinstance(document, dict):
        raise InvalidRequest.field("", "the body must be a JSON object")
    if isinstance(inputs := document.get("inputs"), list):
        check_series_count(len(inputs), policy)
    request = validated(_shape_of(document), document)
    config = checked_config(spec.config, request.config, "/config")
    check_training_options(config, spec.capabilities, distributed=False)
    batch = _batch(request, config, policy)
    train, validation = _split(batch.series, request, config)
    check_training_series([*train, *validation], spec.capabilities)
    return TrainingPlan(
        spec=spec,
        config=request.config,
        train=train,
        validation=validation,
        source=_start(request.source, config, spec),
        data_reference=request.data_reference,
        accept_license=request.accept_license,
        warnings=batch.warnings,
    )


def _shape_of(document: Mapping[str, Any]) -> type[TrainingRequest]:
    if "inputs" in document:
        return InlineTraining
    if "data_source_url_or_path" in document:
        return NamedFileTraining
    return TableTraining if "data" in document else InlineTraining


def _start(asked: str | None, config: ModelConfig, spec: ModelSpec) -> str | None:
    """Name the weights to start from."""
    if asked is not None:
        return asked
    from_scratch = getattr(config, "training_mode", None) is TrainingMode.FROM_SCRATCH
    return None if from_scratch else spec.weights


def _batch(request: TrainingRequest, config: ModelConfig, policy: DataPolicy) -> SeriesBatch:
    horizon = config.horizon or 1
    if isinstance(request, InlineTraining):
        return batch_of_inputs(request.inputs, horizon, policy)
    if isinstance(request, TableTraining):
        frame = frame_of_columns(request.data, policy)
        return batch_of_table(frame, request.schema_, horizon, policy)
    assert isinstance(request, NamedFileTraining)
    named = NamedFileRequest(
        data_source_url_or_path=request.data_source_url_or_path,
        data_definition=request.data_definition,
    )
    frame = read_source(named.data_source_url_or_path, policy, text_columns(named))
    series, _, warnings = series_of_file(frame, named, 1, policy)
    return SeriesBatch(series, warnings)


def _split(
    series: Sequence[Series], request: TrainingRequest, config: ModelConfig
) -> tuple[tuple[Series, ...], tuple[Series, ...]]:
    """Hold back the end of each series; its validation part begins a context earlier."""
    context = config.context_length or _DEFAULT_CONTEXT
    train, validation = [], []
    for one in series:
        held = _held_back(one.length, request, config)
        train.append(_without_last(one, held))
        if held:
            validation.append(one.last(held + context))
    return tuple(train), tuple(validation)


def _held_back(length: int, request: TrainingRequest, config: ModelConfig) -> int:
    """Count the steps held back: whole horizons where a share allows one.

    Raises:
        InvalidRequest: nothing would be left to learn from.
    """
    horizon = config.horizon or 1
    if request.validation_horizons is None:
        steps = int(length * request.validation_share)
        return steps if steps >= horizon else 0
    steps = request.validation_horizons * horizon
    if steps >= length:
        raise InvalidRequest.field(
            "/validation_horizons",
            f"holds back {steps} steps, and a series has {length}; hold back fewer",
        )
    return steps


def _without_last(series: Series, held: int) -> Series:
    """Leave out the last steps; what is known ahead is then known of the steps left out."""
    if not held:
        return series
    kept = series.length - held
    past = series.past_covariates
    return replace(
        series,
        target=series.target[:, :kept],
        past_covariates={name: values[:kept] for name, values in past.items()},
        future_covariates={
            name: _ahead(past[name], kept, future)
            for name, future in series.future_covariates.items()
        },
    )


def _ahead(past: CovariateArray, kept: int, future: CovariateArray) -> CovariateArray:
    return np.concatenate([past[kept:], future])[: len(future)]
