"""The body of an inference call → InferenceRequest: the one entrance of callers' data."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pandas as pd

from forecast.core.errors import InvalidRequest, UnsupportedFormat
from forecast.core.types import ForecastTask, Series
from forecast.data.as_of import Wanted, cut_batch, wanted_of
from forecast.data.file_series import NamedFile, series_of_file, text_columns
from forecast.data.files import format_of, frame_of_document, read_frame
from forecast.data.inline import ForecastRequest, Parameters
from forecast.data.inputs import SeriesBatch, batch_of_inputs, check_series_count
from forecast.data.leakage import leaking
from forecast.data.named_file import NamedFileRequest
from forecast.data.panels import batch_of_table
from forecast.data.policy import DataPolicy
from forecast.data.sources import read_source
from forecast.data.tables import TableRequest, TableSchema
from forecast.data.tasks import named_task, task_of, timeout_of
from forecast.data.uploads import read_upload
from forecast.data.validation import read_json, validated
from forecast.models.spec import ModelSpec

QUICK_BYTES = 128 * 1024
_SURELY_QUICK_BYTES = 16 * 1024
_QUICK_SERIES = 32
_NAMED_FILE = "data_source_url_or_path"
_NAMED_FILE_KEY = b'"data_source_url_or_path"'


class Shape(StrEnum):
    """In which shape a request came, and so its answer goes."""

    NATIVE = "native"
    TABLE = "table"
    NAMED_FILE = "named_file"


@dataclass(frozen=True, slots=True, eq=False)
class InferenceRequest:
    """What a caller asks, checked as far as it can be without the model.

    Attributes:
        series: those with names of channels were sent as a list per channel.
        task: its `options` is an instance of the spec's `options`.
        wanted: which weights are to answer; the series are cut by it already.
        warnings: what was done to the data.
        named_file: what the answer of the named file shape needs; None for other shapes.
    """

    series: tuple[Series, ...]
    task: ForecastTask
    timeout_s: float
    wanted: Wanted = Wanted()
    shape: Shape = Shape.NATIVE
    warnings: tuple[str, ...] = ()
    named_file: NamedFile | None = None


_JSON_TYPES = {"", "application/json", "application/x-www-form-urlencoded"}


class RequestReader:
    """Reads requests of every shape within a policy. Thread-safe: it keeps no state."""

    def __init__(self, policy: DataPolicy) -> None:
        self.policy = policy

    def is_quick(self, body: bytes, content_type: str) -> bool:
        """Whether a body is small inline JSON, so that reading it blocks nothing.

        Never true of a body that names a file or URL, however it is spelled.
        """
        return (
            is_json(content_type)
            and len(body) <= QUICK_BYTES
            and b'"inputs"' in body
            and b"\\" not in body  # so that nothing is spelled in another way
            and _NAMED_FILE_KEY not in body
            and (len(body) <= _SURELY_QUICK_BYTES or _holds_few_series(body))
        )

    def read(
        self,
        body: bytes,
        content_type: str,
        spec: ModelSpec,
        *,
        default_horizon: int | None,
        is_routed: bool = False,
    ) -> InferenceRequest:
        """Read a request. Blocks on files and URLs.

        Args:
            default_horizon: for a request that names none; None to require one.
            is_routed: the body names the model, as the route across models takes it.

        Raises:
            ForecastError: what is wrong, with pointers at the fields.
        """
        if is_json(content_type):
            document = read_json(body)
            if is_routed:
                document = _without_route(document)
            return self._read_json(document, spec, default_horizon)
        if _media_type(content_type) == "multipart/form-data":
            return self._read_upload(body, content_type, spec, default_horizon)
        raise UnsupportedFormat(
            f"a body of type {_media_type(content_type)!r} is not read; send application/json, or"
            " a file with its schema as multipart/form-data"
        )

    def _read_json(
        self, document: Any, spec: ModelSpec, default_horizon: int | None
    ) -> InferenceRequest:
        if not isinstance(document, dict):
            raise InvalidRequest.field("", "the body must be a JSON object")
        if _NAMED_FILE in document and "inputs" not in document:
            return self._read_named(validated(NamedFileRequest, document), spec, default_horizon)
        if "data" in document and "inputs" not in document:
            table = validated(TableRequest, document)
            frame = frame_of_document(table.data, self.policy, table.schema_.names)
            return self._read_frame(frame, table.schema_, table.parameters, spec, default_horizon)
        if isinstance(inputs := document.get("inputs"), list):
            check_series_count(len(inputs), self.policy)
        request = validated(ForecastRequest, document)
        task = task_of(request.parameters, spec, default_horizon)
        is_to_be_cut = request.parameters.as_of is not None
        batch = batch_of_inputs(
            request.inputs, task.horizon, self.policy, is_to_be_cut=is_to_be_cut
        )
        return self._finished(batch, task, request.parameters, Shape.NATIVE)

    def _read_upload(
        self, body: bytes, content_type: str, spec: ModelSpec, default_horizon: int | None
    ) -> InferenceRequest:
        upload = read_upload(body, content_type, self.policy)
        schema = upload.schema
        text = frozenset(name for name in (schema.item_id, schema.timestamp) if name)
        file_format = format_of(upload.name, upload.media_type)
        frame = read_frame(upload.body, file_format, self.policy, text)
        return self._read_frame(frame, schema, upload.parameters, spec, default_horizon)

    def _read_frame(
        self,
        frame: pd.DataFrame,
        schema: TableSchema,
        parameters: Parameters,
        spec: ModelSpec,
        default_horizon: int | None,
    ) -> InferenceRequest:
        task = task_of(parameters, spec, default_horizon)
        is_to_be_cut = parameters.as_of is not None
        batch = batch_of_table(frame, schema, task.horizon, self.policy, is_to_be_cut=is_to_be_cut)
        return self._finished(batch, task, parameters, Shape.TABLE)

    def _finished(
        self, batch: SeriesBatch, task: ForecastTask, parameters: Parameters, shape: Shape
    ) -> InferenceRequest:
        wanted = wanted_of(parameters)
        batch = cut_batch(batch, wanted, task.horizon)
        return InferenceRequest(
            series=batch.series,
            task=task,
            timeout_s=timeout_of(parameters.timeout_s, self.policy),
            wanted=wanted,
            shape=shape,
            warnings=(*batch.warnings, *leaking(batch.series)),
        )

    def _read_named(
        self, request: NamedFileRequest, spec: ModelSpec, default_horizon: int | None
    ) -> InferenceRequest:
        task, band_indices = named_task(request.parameters, spec, default_horizon)
        frame = read_source(request.data_source_url_or_path, self.policy, text_columns(request))
        series, actual_future, warnings = series_of_file(frame, request, task.horizon, self.policy)
        used = {*series[0].past_covariates, *series[0].static_covariates}
        return InferenceRequest(
            series=series,
            task=task,
            timeout_s=timeout_of(request.parameters.timeout_s, self.policy),
            wanted=wanted_of(request.parameters),
            shape=Shape.NAMED_FILE,
            warnings=(*warnings, *leaking(series)),
            named_file=NamedFile(
                targets=tuple(one.item_id for one in series),
                band_indices=band_indices,
                actual_future=actual_future,
                covariates=tuple(name for name in request.data_definition if name in used),
            ),
        )


def _without_route(document: Any) -> Any:
    """Leave out what the route across models has read."""
    if not isinstance(document, dict):
        return document
    return {name: value for name, value in document.items() if name not in ("model", "fallback")}


def _holds_few_series(body: bytes) -> bool:
    """Whether a body is long for its numbers; many series and timestamps take longer to read."""
    return b'"timestamps"' not in body and body.count(b'"target"') <= _QUICK_SERIES


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def is_json(content_type: str) -> bool:
    """Whether a body is to be read as JSON; `curl -d` calls it a form when told nothing."""
    media_type = _media_type(content_type)
    return media_type in _JSON_TYPES or media_type.endswith("+json")
