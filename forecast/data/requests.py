"""The body of an inference call → InferenceRequest, in any shape."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pandas as pd

from forecast.core.errors import InvalidRequest, UnsupportedFormat
from forecast.core.lookahead import leaking
from forecast.core.types import ForecastTask, Series
from forecast.core.validation import read_json, validated
from forecast.data.bodies import UPLOAD_PARTS, is_json, is_quick, media_type_of, read_parts
from forecast.data.files import format_of, read_frame, read_source
from forecast.data.inline import ForecastRequest, Parameters
from forecast.data.inputs import SeriesBatch, batch_of_inputs, check_series_count
from forecast.data.named_file import NamedFile, NamedFileRequest
from forecast.data.named_series import named_task, series_of_file, text_columns
from forecast.data.panels import batch_of_table
from forecast.data.parameters import Wanted, cut_batch, task_of, timeout_of, wanted_of
from forecast.data.policy import DataPolicy
from forecast.data.tables import TableRequest, TableSchema
from forecast.data.text_files import frame_of_document
from forecast.models.spec import ModelSpec

_SURELY_QUICK_BYTES = 16 * 1024
_QUICK_SERIES = 32
_NAMED_FILE = "data_source_url_or_path"


class Shape(StrEnum):
    """The shape of a request, and so of its answer."""

    NATIVE = "native"
    TABLE = "table"
    NAMED_FILE = "named_file"


@dataclass(frozen=True, slots=True, eq=False)
class InferenceRequest:
    """A request for a forecast, checked as far as possible without the model.

    Attributes:
        series: those sent as a list per channel have channel names; cut at `wanted.as_of`.
        task: its `options` is an instance of the spec's `options`.
        wanted: the weights that may answer.
        warnings: how the data was changed.
        named_file: for the answer of the named-file shape; None for other shapes.
    """

    series: tuple[Series, ...]
    task: ForecastTask
    timeout_s: float
    wanted: Wanted = Wanted()
    shape: Shape = Shape.NATIVE
    warnings: tuple[str, ...] = ()
    named_file: NamedFile | None = None


@dataclass(frozen=True, slots=True)
class RequestReader:
    """Reads requests of every shape. Thread-safe: it has no state."""

    policy: DataPolicy

    def is_quick(self, body: bytes, content_type: str) -> bool:
        """Whether a body is small inline JSON, so that reading it does not block.

        Never true of a body that names a file or URL, however it is spelled.
        """
        return (
            is_json(content_type)
            and is_quick(body)
            and b'"inputs"' in body
            and b"\\" not in body  # no escapes, so names are spelled as they are
            and f'"{_NAMED_FILE}"'.encode() not in body
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
            default_horizon: for a request without one; None to require it.
            is_routed: the body also names the model, as the route across models allows.

        Raises:
            ForecastError: what is wrong, with pointers at the fields.
        """
        if is_json(content_type):
            document = read_json(body)
            if not isinstance(document, dict):
                raise InvalidRequest.field("", "the body must be a JSON object")
            if is_routed:
                document = {n: v for n, v in document.items() if n not in ("model", "fallback")}
            return self._read_json(document, spec, default_horizon)
        if (media_type := media_type_of(content_type)) == "multipart/form-data":
            return self._read_upload(body, content_type, spec, default_horizon)
        raise UnsupportedFormat(
            f"a body of type {media_type!r} is not read; send application/json, or"
            " a file with its schema as multipart/form-data"
        )

    def _read_json(
        self, document: dict[str, Any], spec: ModelSpec, default_horizon: int | None
    ) -> InferenceRequest:
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
        parts = read_parts(body, content_type, self.policy, UPLOAD_PARTS)
        file = parts["file"]
        schema = validated(TableSchema, parts["schema"].json(), "/schema")
        sent = parts["parameters"].json() if "parameters" in parts else {}
        parameters = validated(Parameters, sent, "/parameters")
        frame = read_frame(
            bytes(file.body),
            format_of(file.filename, file.media_type),
            self.policy,
            frozenset(name for name in (schema.item_id, schema.timestamp) if name),
        )
        return self._read_frame(frame, schema, parameters, spec, default_horizon)

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
        covariates = tuple(name for name in request.data_definition if name in used)
        return InferenceRequest(
            series=series,
            task=task,
            timeout_s=timeout_of(request.parameters.timeout_s, self.policy),
            wanted=wanted_of(request.parameters),
            shape=Shape.NAMED_FILE,
            warnings=(*warnings, *leaking(series)),
            named_file=NamedFile(band_indices, actual_future, covariates),
        )


def _holds_few_series(body: bytes) -> bool:
    """Whether a body is long for its numbers; many series and timestamps take longer to read."""
    return b'"timestamps"' not in body and body.count(b'"target"') <= _QUICK_SERIES
