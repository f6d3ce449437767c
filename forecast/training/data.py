"""The data of a job: exactly one of inline series, a table, a file, a dataset or an upload."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field, ValidationError

from forecast.core.errors import BadData, FieldError, InvalidRequest
from forecast.core.labels import Label
from forecast.core.types import Series
from forecast.core.validation import WireModel, invalid, member, validated
from forecast.data.bodies import read_parts
from forecast.data.files import FileFormat, format_of
from forecast.data.inline import LABEL_FIELD, SeriesInput
from forecast.data.inputs import SeriesBatch, batch_of_inputs
from forecast.data.named_file import KNOWN_FUTURE_FIELD, Role
from forecast.data.panels import batch_of_table
from forecast.data.policy import DataPolicy
from forecast.data.tables import Table, TableSchema

DATASET_NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"

_PARTS = ("file", "schema", "parameters", "dataset")
_SOURCES = ("inputs", "data", "data_source_url_or_path", "dataset")
_FIELDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "inputs": ((), ()),
    "data": (("schema",), ()),
    "dataset": ((), ("schema",)),
    "long file": (("schema",), ()),
    "wide file": (("data_definition",), ("known_future", "label")),
}
"""What the data come as → the fields that must go with it, and those that may."""


class JobData(WireModel):
    """The data of a job: one of `inputs`, `data`, `data_source_url_or_path` and `dataset`."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["inputs"]},
                {"required": ["data", "schema"]},
                {"required": ["data_source_url_or_path", "data_definition"]},
                {"required": ["data_source_url_or_path", "schema"]},
                {"required": ["dataset"]},
            ]
        }
    )

    inputs: list[SeriesInput] | None = Field(None, min_length=1, description="Series, inline.")
    data: Table | None = Field(None, description="Columns, or rows, as in a forecast.")
    data_source_url_or_path: str | None = Field(
        None,
        min_length=1,
        max_length=4096,
        description="An http(s) URL, `local://data/…` or a file under the data folder: in long"
        " format with `schema`; with `data_definition`, each target column is a series.",
        examples=["local://data/sales.csv"],
    )
    dataset: str | None = Field(
        None,
        min_length=1,
        max_length=63,
        description="Name of a dataset that is stored here.",
        examples=["sales"],
    )
    schema_: TableSchema | None = Field(
        None,
        alias="schema",
        description="Which column is what; of a dataset, in place of what is stored with it.",
    )
    data_definition: dict[str, Role] | None = Field(
        None,
        min_length=1,
        description="Column → role, of a file with a `date` column.",
        examples=[{"sales": "target"}],
    )
    known_future: list[str] = KNOWN_FUTURE_FIELD
    label: Label | None = LABEL_FIELD

    def check(self) -> None:
        """Refuse no data, data from two places, and fields that do not go with it.

        Raises:
            InvalidRequest: points at each field.
        """
        fields = {field.alias or name: name for name, field in JobData.model_fields.items()}
        sent = {name for name in fields if getattr(self, fields[name]) not in (None, [])}
        sources = [name for name in _SOURCES if name in sent]
        if not sources:
            raise InvalidRequest(
                "there is nothing to learn from: send inputs, data with schema,"
                " data_source_url_or_path, or the name of a dataset"
            )
        kind = first = sources[0]
        if first == "data_source_url_or_path":
            is_long = sent & {"schema", "data_definition"} == {"schema"}
            kind = "long file" if is_long else "wide file"
        required, optional = _FIELDS[kind]
        found = dict.fromkeys(sources[1:], f"send {first} or this, not both")
        found |= dict.fromkeys(set(required) - sent, "this field is required")
        others = sent.difference(sources, required, optional)
        found |= dict.fromkeys(sorted(others), f"does not go with {first}")
        if found:
            raise invalid([FieldError(f"/{name}", detail) for name, detail in found.items()])


def default_data(source: str | None, schema: Mapping[str, Any] | None = None) -> JobData | None:
    """Read the settings of the default data: a dataset, or a file in long format and its schema.

    Raises:
        ValueError: the name is no name of a dataset and there is no schema, or the schema is
            wrong.
    """
    if source is None:
        if schema is not None:
            raise ValueError("the schema of a default dataset goes with its name")
        return None
    if schema is None:
        if not is_dataset_name(source):
            raise ValueError(
                f"{source!r} is no name of a dataset; a file needs the schema of its columns too"
            )
        return JobData(dataset=source)
    try:
        document = {"data_source_url_or_path": source, "schema": dict(schema)}
        return JobData.model_validate(document)
    except ValidationError as error:
        where = "/".join(map(str, error.errors()[0]["loc"][1:]))
        raise ValueError(
            f"the schema of the default dataset: {where}: {error.errors()[0]['msg']}"
        ) from error


# Uploads


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file that a caller sent.

    Attributes:
        name: the file name the caller gave, or "".
    """

    body: bytes
    format: FileFormat
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class JobUpload:
    """The parts of a multipart body.

    Attributes:
        parameters: the plan, unchecked.
        dataset: name to store the file under; None not to store it.
    """

    file: SentFile
    schema: TableSchema
    parameters: dict[str, Any]
    dataset: str | None


def read_job_upload(
    body: bytes, content_type: str, policy: DataPolicy, known: tuple[str, ...] = _PARTS
) -> JobUpload:
    """Read an upload: `file` and `schema`, and optionally `parameters` and `dataset`.

    Raises:
        BadData: the body is broken, or its JSON is.
        InvalidRequest: a part is missing, unknown, sent twice or wrong; points at the part.
        TooLarge: a part is larger than allowed.
        UnsupportedFormat: the name of the file has no known format.
    """
    parts = read_parts(body, content_type, policy, known)
    file = parts["file"]
    parameters = parts["parameters"].json() if "parameters" in parts else {}
    if not isinstance(parameters, dict):
        raise InvalidRequest.field("/parameters", "must be a JSON object")
    dataset = None
    if "dataset" in parts:
        dataset = bytes(parts["dataset"].body).decode("utf-8", "replace").strip().strip('"')
        check_dataset_name(dataset)
    sent = SentFile(bytes(file.body), format_of(file.filename, file.media_type), file.filename)
    schema = validated(TableSchema, parts["schema"].json(), "/schema")
    return JobUpload(sent, schema, parameters, dataset)


@contextmanager
def errors_of_upload() -> Iterator[None]:
    """Make errors in a plan point into the part `parameters`."""
    try:
        yield
    except InvalidRequest as error:
        if not error.errors:
            raise
        placed = [FieldError(_placed(at.pointer), at.detail) for at in error.errors]
        told = invalid(placed)
        raise type(error)(told.detail, errors=told.errors) from error


def _placed(pointer: str) -> str:
    is_part = pointer.partition("/")[2].partition("/")[0] in _PARTS
    return pointer if is_part else f"/parameters{pointer}"


def is_dataset_name(name: str) -> bool:
    return re.fullmatch(DATASET_NAME, name) is not None


def check_dataset_name(name: str) -> None:
    """Refuse what is no name of a dataset."""
    if not is_dataset_name(name):
        raise InvalidRequest.field(
            "/dataset",
            "a name has up to 63 of a-z, 0-9, - and _, and begins with a letter or digit",
        )


# Series, whole


def text_columns(schema: TableSchema) -> frozenset[str]:
    """Return the columns that are text, whatever they look like."""
    return frozenset(name for name in (schema.item_id, schema.timestamp) if name)


def series_of_table(frame: pd.DataFrame, schema: TableSchema, policy: DataPolicy) -> SeriesBatch:
    """Make series of a table; known covariates cover every step, and any number of later rows.

    Raises:
        BadData: an item has no observed target.
        InvalidRequest: a column is missing or holds something else; rows repeat or are off the
            grid.
        TooLarge: more items or points than allowed.
    """
    known = schema.future_covariates
    for name in known:
        if name not in frame.columns:
            raise InvalidRequest.field("/schema/future_covariates", f"there is no column {name!r}")
    changes = {"past_covariates": [*schema.past_covariates, *known], "future_covariates": []}
    batch = batch_of_table(frame, schema.model_copy(update=changes), 0, policy)
    return SeriesBatch(tuple(_with_known(one, known) for one in batch.series), batch.warnings)


def series_of_inputs(inputs: list[SeriesInput], horizon: int, policy: DataPolicy) -> SeriesBatch:
    """Make series of inline ones; a known covariate may have no value after the last step.

    Args:
        horizon: number of future values of known covariates that have any.
    """
    empty = [_without_future(one, index) for index, one in enumerate(inputs)]
    sent = [
        one.model_copy(
            update={
                "future_covariates": {
                    name: values
                    for name, values in one.future_covariates.items()
                    if name not in names
                }
            }
        )
        for one, names in zip(inputs, empty, strict=True)
    ]
    batch = batch_of_inputs(sent, horizon, policy)
    series = tuple(
        _with_known(one, names) if not one.future_covariates else one
        for one, names in zip(batch.series, empty, strict=True)
    )
    return SeriesBatch(series, batch.warnings)


def _with_known(series: Series, names: Sequence[str]) -> Series:
    """Mark past covariates as known; steps after the last target become the future.

    Raises:
        BadData: no target is observed.
    """
    if not names:
        return series
    observed = np.flatnonzero(~np.isnan(series.target).all(axis=0))
    if not observed.size:
        raise BadData(f"series {series.item_id!r} holds no observed value")
    none_yet = {name: series.past_covariates[name][:0] for name in names}
    marked = replace(series, future_covariates=none_yet)
    return marked.until(int(observed[-1]) + 1, series.length)


def _without_future(sent: SeriesInput, index: int) -> list[str]:
    """List the known covariates that have no future value yet.

    Raises:
        InvalidRequest: the past of one is missing, or others have future values.
    """
    empty = [name for name, values in sent.future_covariates.items() if values == []]
    for name in empty:
        where = member(f"/inputs/{index}", "future_covariates", name)
        if name not in sent.past_covariates:
            raise InvalidRequest.field(where, "send its past values under past_covariates")
        if len(empty) != len(sent.future_covariates):
            raise InvalidRequest.field(where, "is empty, and others have values; send all or none")
    return empty
