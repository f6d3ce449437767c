"""Forecasts → the bytes of an answer: JSON, CSV or Arrow."""

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import csv

from forecast.core.clock import UTC, clock_texts, utc_of
from forecast.core.frequency import Frequency, Timestamps
from forecast.core.types import Forecast, Series
from forecast.data.named_file import named_document
from forecast.data.requests import InferenceRequest

JSON = "application/json"
CSV = "text/csv"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
_TABULAR = {CSV: CSV, ARROW_STREAM: ARROW_STREAM, ARROW_FILE: ARROW_FILE}
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(first + second for first in _CROCKFORD for second in _CROCKFORD)
_MAX_WARNINGS = 100
_CACHED_STEPS = 512  # of a series, whose times are cached as text


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Which model answered, and from what weights.

    Attributes:
        cutoff: last day of the training data (ISO 8601), where known.
        sha256: checksum of the weights, where known.
    """

    id: str
    version: str
    source: str | None = None
    cutoff: str | None = None
    sha256: str | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a forecast took.

    Attributes:
        queue_ms: wait for the model.
        predict_ms: the model's call.
        batch_size: series in that call.
    """

    queue_ms: float
    predict_ms: float
    batch_size: int


def encode(
    request: InferenceRequest,
    forecasts: Sequence[Forecast],
    model: ModelFacts,
    timing: Timing,
    accept: str,
) -> tuple[bytes, str]:
    """Encode an answer: its body and media type.

    Args:
        forecasts: in the order of the request's series, at the levels of its task.
        accept: as in HTTP; the first type in it that we have, or else JSON. The named file
            shape is always JSON.
    """
    media_type = negotiated(accept)
    if media_type != JSON and request.named_file is None:
        return _rows(request, forecasts, media_type), media_type
    make = _native_document if request.named_file is None else _named_document
    document = make(request, forecasts, model, timing)
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY), JSON


def negotiated(accept: str) -> str:
    """Choose a media type of an Accept header; JSON where it names none of ours."""
    if accept in {"", "*/*", JSON}:
        return JSON
    best, best_quality = JSON, 0.0
    for entry in accept.split(","):
        name, _, parameters = entry.partition(";")
        kind = name.strip().lower()
        ours = JSON if kind in {"*/*", "application/*", JSON} else _TABULAR.get(kind)
        quality = _quality(parameters)
        if ours is not None and quality > best_quality:
            best, best_quality = ours, quality
    return best


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def new_id() -> str:
    """Make a unique id that sorts by time: a ULID after a prefix."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "fc_" + "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])


def _native_document(
    request: InferenceRequest, forecasts: Sequence[Forecast], model: ModelFacts, timing: Timing
) -> dict[str, Any]:
    pairs = zip(request.series, forecasts, strict=True)
    return {
        "id": new_id(),
        "model": {
            "id": model.id,
            "version": model.version,
            "source": model.source,
            "cutoff": model.cutoff,
            "sha256": model.sha256,
        },
        "predictions": [_prediction(series, forecast) for series, forecast in pairs],
        "usage": {
            "input_points": sum(series.target.size for series in request.series),
            "output_points": sum(forecast.mean.size for forecast in forecasts),
        },
        "timing": {
            "queue_ms": round(timing.queue_ms, 3),
            "predict_ms": round(timing.predict_ms, 3),
            "batch_size": timing.batch_size,
        },
        "warnings": _warnings(request, forecasts),
    }


def _named_document(
    request: InferenceRequest, forecasts: Sequence[Forecast], model: ModelFacts, timing: Timing
) -> dict[str, Any]:
    assert request.named_file is not None
    warnings = _warnings(request, forecasts)
    return {
        **named_document(request.named_file, request.series, forecasts, warnings),
        "execution_metadata": {
            "model_id": model.id,
            "model_version": model.version,
            "source": model.source,
            "cutoff": model.cutoff,
            "sha256": model.sha256,
            "device": model.device,
            "queue_time_seconds": round(timing.queue_ms / 1000, 6),
            "execution_time_seconds": round(timing.predict_ms / 1000, 6),
            "total_time_seconds": round((timing.queue_ms + timing.predict_ms) / 1000, 6),
            "batch_size": timing.batch_size,
        },
    }


def _prediction(series: Series, forecast: Forecast) -> dict[str, Any]:
    mean = np.ascontiguousarray(forecast.mean)
    quantiles = np.ascontiguousarray(forecast.quantiles.swapaxes(0, 1))  # [Q, C, H]
    prediction: dict[str, Any] = {"item_id": series.item_id}
    if series.channels:
        prediction["channels"] = series.channels
    if (times := future_texts(series, mean.shape[1])) is not None:
        prediction["timestamps"] = times
    prediction["mean"] = mean if series.channels else mean[0]
    prediction["quantiles"] = {
        repr(level): values if series.channels else values[0]
        for level, values in zip(forecast.quantile_levels, quantiles, strict=True)
    }
    prediction["intervals"] = forecast.intervals
    if forecast.methods:
        prediction["methods"] = dict(forecast.methods)
    return prediction


def _warnings(request: InferenceRequest, forecasts: Sequence[Forecast]) -> list[str]:
    """List what the caller should know, each once; of which series where not of all."""
    counts = Counter(text for forecast in forecasts for text in set(forecast.warnings))
    shared = [text for text, count in counts.items() if count == len(forecasts)]
    single = [
        f"series {series.item_id!r}: {text}"
        for series, forecast in zip(request.series, forecasts, strict=True)
        for text in forecast.warnings
        if counts[text] < len(forecasts)
    ]
    listed = list(dict.fromkeys([*request.warnings, *shared, *single]))
    if len(listed) <= _MAX_WARNINGS:
        return listed
    return [*listed[:_MAX_WARNINGS], f"and {len(listed) - _MAX_WARNINGS} more warnings"]


def _rows(request: InferenceRequest, forecasts: Sequence[Forecast], media_type: str) -> bytes:
    """Encode forecasts as CSV, an Arrow stream or an Arrow file."""
    sink = pa.BufferOutputStream()
    if media_type == CSV:
        csv.write_csv(_table(request, forecasts, as_text=True), sink)
    else:
        table = _table(request, forecasts, as_text=False)
        new = pa.ipc.new_file if media_type == ARROW_FILE else pa.ipc.new_stream
        with new(sink, table.schema) as writer:
            writer.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def _table(request: InferenceRequest, forecasts: Sequence[Forecast], *, as_text: bool) -> pa.Table:
    """Rows ordered by series, channel and step."""
    all_series, horizon = request.series, request.task.horizon
    levels = forecasts[0].quantile_levels
    steps = [horizon * max(len(series.channels), 1) for series in all_series]
    columns: dict[str, pa.Array] = {
        "item_id": pa.array(np.repeat([series.item_id for series in all_series], steps)),
        "timestamp": _times(all_series, horizon, as_text=as_text),
    }
    if any(series.channels for series in all_series):
        channels = [name for series in all_series for name in series.channels or ("",)]
        columns["channel"] = pa.array(np.repeat(channels, horizon))
    columns["mean"] = pa.array(np.concatenate([forecast.mean.ravel() for forecast in forecasts]))
    for index, level in enumerate(levels):
        values = [forecast.quantiles[:, index].ravel() for forecast in forecasts]
        columns[repr(level)] = pa.array(np.concatenate(values))
    return pa.table(columns)


def _times(all_series: Sequence[Series], horizon: int, *, as_text: bool) -> pa.Array:
    """Repeat the timestamps of each series for its channels; null where time is not known.

    Arrow has one time zone a column: UTC where the clocks of the series differ, and times are
    text where only some have one.
    """
    clocks = {series.clock for series in all_series if series.start is not None}
    as_text = as_text or (None in clocks and len(clocks) > 1)
    parts = [_times_of(series, horizon, as_text=as_text) for series in all_series]
    kind = pa.string() if as_text else pa.timestamp("s")
    column = pa.concat_arrays([pa.array(part, type=kind) for part in parts])
    if as_text or clocks <= {None}:
        return column
    return column.cast(pa.timestamp("s", tz=clocks.pop() if len(clocks) == 1 else UTC))


def _times_of(series: Series, horizon: int, *, as_text: bool) -> Sequence[str | None] | Timestamps:
    copies = max(len(series.channels), 1)
    if as_text:
        texts: Sequence[str | None] = future_texts(series, horizon) or [None] * horizon
        return [*texts] * copies
    times = series.future_timestamps(horizon)
    if times is None:
        return [None] * (horizon * copies)
    return np.tile(utc_of(times, series.clock), copies)


def future_texts(series: Series, horizon: int) -> Sequence[str] | None:
    """Write the times after a series as ISO 8601; None where time is not known.

    Days alone where neither the time of day nor an offset matters; else with the offset of the
    clock. The series of a panel mostly end together, so short lists are kept.
    """
    if series.start is None or series.freq is None:
        return None
    texts = _cached_texts if horizon <= _CACHED_STEPS else _texts
    return texts(series.freq, series.start, series.length, horizon, series.clock)


def _texts(
    freq: Frequency, start: np.datetime64, skip: int, horizon: int, clock: str | None
) -> tuple[str, ...]:
    times = freq.timestamps(start, horizon, skip=skip)
    has_time = freq.has_time or clock is not None
    if has_time or times[0] != times[0].astype("datetime64[D]"):
        return tuple(clock_texts(times, clock))
    return tuple(np.datetime_as_string(times, unit="D").tolist())


_cached_texts = lru_cache(maxsize=1024)(_texts)
