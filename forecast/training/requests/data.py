"""The data of a request, in whichever shape it came → series, whole: nothing is cut or split."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from forecast.core.errors import FieldError, InvalidRequest
from forecast.core.types import Series
from forecast.core.validation import WireModel, invalid, member, validated
from forecast.data.bodies import FormPart, read_parts
from forecast.data.files import format_of, read_frame, read_source
from forecast.data.inline import SeriesInput
from forecast.data.inputs import SeriesBatch, batch_of_inputs
from forecast.data.named_file import NamedFileParameters, NamedFileRequest
from forecast.data.named_series import series_of_file
from forecast.data.named_series import text_columns as text_columns_of_roles
from forecast.data.policy import DataPolicy
from forecast.data.tables import TableSchema
from forecast.data.text_files import frame_of_document
from forecast.models.spec import Capabilities
from forecast.training.requests.datasets import Datasets, SentFile, check_name
from forecast.training.requests.fields import (
    DatasetData,
    InlineData,
    LongFileData,
    NamedFileData,
    TableData,
)
from forecast.training.requests.tables import known_ahead, series_of_table, text_columns

_PARTS = ("file", "schema", "parameters", "dataset")
_MARKS = {"inputs": 0, "data": 1, "data_source_url_or_path": 2, "dataset": 4}
_WIDE, _LONG = 2, 3


@dataclass(frozen=True, slots=True, eq=False)
class LearningData:
    """Series as read, all of them whole.

    Attributes:
        warnings: what was done to the data.
        reference: names where the data came from; None for what was sent.
    """

    series: tuple[Series, ...]
    warnings: tuple[str, ...] = ()
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class DataReader:
    """Reads data within a policy. Thread-safe; blocks on files and URLs."""

    policy: DataPolicy
    datasets: Datasets

    def read(self, data: WireModel, horizon: int, able: Capabilities) -> LearningData:
        """Read the data of a request.

        Args:
            horizon: number of values that inline covariates have ahead, where they have any.

        Raises:
            ForecastError: what is wrong, with pointers at the fields.
        """
        match data:
            case InlineData():
                return _of_batch(_inline(data.inputs, horizon, self.policy))
            case TableData():
                frame = frame_of_document(data.data, self.policy, data.schema_.names)
                return _of_batch(series_of_table(frame, data.schema_, self.policy))
            case NamedFileData():
                return self._wide(data, able)
            case LongFileData():
                return self.long_file(data.data_source_url_or_path, data.schema_)
            case DatasetData():
                return self.dataset(data.dataset, data.schema_)
        raise TypeError(f"{type(data).__name__} is none of the shapes of data")

    def dataset(self, name: str, schema: TableSchema | None) -> LearningData:
        """Read a named dataset.

        Raises:
            NotFound: there is none of this name.
            ForecastError: its file does not fit the schema.
        """
        frame, roles, kept = self.datasets.frame(name, schema)
        batch = series_of_table(frame, roles, self.policy)
        return _of_batch(batch, kept.reference)

    def long_file(self, source: str, schema: TableSchema) -> LearningData:
        """Read a file in long format, by its URL or its name under the data roots.

        Raises:
            ForecastError: it may not be read, is not there, or does not fit the schema.
        """
        frame = read_source(source, self.policy, text_columns(schema))
        return _of_batch(series_of_table(frame, schema, self.policy), reference_of(source))

    def sent(self, sent: SentFile, schema: TableSchema) -> LearningData:
        """Read a file that was uploaded.

        Raises:
            ForecastError: it cannot be read, or does not fit the schema.
        """
        frame = read_frame(sent.body, sent.format, self.policy, text_columns(schema))
        return _of_batch(series_of_table(frame, schema, self.policy))

    def _wide(self, data: NamedFileData, able: Capabilities) -> LearningData:
        source = data.data_source_url_or_path
        named = NamedFileRequest(
            data_source_url_or_path=source,
            data_definition=data.data_definition,
            known_future=data.known_future,
            label=data.label,
            parameters=NamedFileParameters(use_covariates=True),
        )
        frame = read_source(source, self.policy, text_columns_of_roles(named))
        series, _, warnings = series_of_file(frame, named, 0, self.policy)
        if not able.future_covariates:  # then what is known ahead is used as far as it is past
            series = tuple(replace(one, future_covariates={}) for one in series)
        return LearningData(series, warnings, reference_of(source))


@dataclass(frozen=True, slots=True, eq=False)
class LearningUpload:
    """A multipart body, taken apart.

    Attributes:
        parameters: JSON as it was sent, checked as an object.
        dataset: name to keep the file under; None not to keep it.
    """

    file: SentFile
    schema: TableSchema
    parameters: Mapping[str, Any]
    dataset: str | None


def read_learning_upload(
    body: bytes, content_type: str, policy: DataPolicy, known: tuple[str, ...] = _PARTS
) -> LearningUpload:
    """Take an upload apart: `file` and `schema`, and where asked `parameters` and `dataset`.

    Raises:
        BadData: the body is broken, or its JSON is.
        InvalidRequest: a part is missing, unknown, sent twice or wrong; points at the part.
        TooLarge: a part is larger than allowed.
        UnsupportedFormat: no format is known for the name of the file.
    """
    parts = read_parts(body, content_type, policy, known)
    file = parts["file"]
    parameters = parts["parameters"].json() if "parameters" in parts else {}
    if not isinstance(parameters, dict):
        raise InvalidRequest.field("/parameters", "must be a JSON object")
    return LearningUpload(
        file=SentFile(
            bytes(file.body), format_of(file.filename, file.media_type), name=file.filename
        ),
        schema=validated(TableSchema, parts["schema"].json(), "/schema"),
        parameters=parameters,
        dataset=_name(parts["dataset"]) if "dataset" in parts else None,
    )


@contextmanager
def errors_of_upload() -> Iterator[None]:
    """Let errors in what a training or backtest is point into the part that says it."""
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


def shape_of(document: Mapping[str, Any]) -> int:
    """Tell the shape of a document by what it holds: a number in the order of the shapes."""
    for name, shape in _MARKS.items():
        if name in document:
            wide = shape == _WIDE and ("data_definition" in document or "schema" not in document)
            return shape if wide or shape != _WIDE else _LONG
    raise InvalidRequest(
        "there is nothing to learn from: send inputs, data with schema, data_source_url_or_path,"
        " or the name of a dataset"
    )


def reference_of(source: str) -> str:
    """Name a file for the record; what follows `?` in a URL may be a secret."""
    return source.partition("?")[0][:1024]


def _name(part: FormPart) -> str:
    name = bytes(part.body).decode("utf-8", "replace").strip().strip('"')
    check_name(name)
    return name


def _of_batch(batch: SeriesBatch, reference: str | None = None) -> LearningData:
    return LearningData(batch.series, batch.warnings, reference)


def _inline(inputs: list[SeriesInput], horizon: int, policy: DataPolicy) -> SeriesBatch:
    """Read inline series; a covariate may be known ahead with no value after the last step."""
    empty = [_empty_ahead(one, index) for index, one in enumerate(inputs)]
    sent = [
        one.model_copy(update={"future_covariates": _without(one.future_covariates, names)})
        for one, names in zip(inputs, empty, strict=True)
    ]
    batch = batch_of_inputs(sent, horizon, policy)
    series = tuple(
        known_ahead(one, names) if names and not one.future_covariates else one
        for one, names in zip(batch.series, empty, strict=True)
    )
    return SeriesBatch(series, batch.warnings)


def _empty_ahead(sent: SeriesInput, index: int) -> list[str]:
    """Name the covariates that are known ahead and bring no value yet.

    Raises:
        InvalidRequest: its past is missing, or others do bring values.
    """
    empty = [name for name, values in sent.future_covariates.items() if values == []]
    for name in empty:
        where = member(f"/inputs/{index}", "future_covariates", name)
        if name not in sent.past_covariates:
            raise InvalidRequest.field(where, "send its past values under past_covariates")
        if len(empty) != len(sent.future_covariates):
            raise InvalidRequest.field(where, "is empty, and others have values; send all or none")
    return empty


def _without(covariates: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    return {name: values for name, values in covariates.items() if name not in names}
