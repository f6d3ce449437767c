"""Forecasts → the bytes of an answer: JSON, CSV or Arrow."""

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from forecast.core.types import Forecast, Series
from forecast.data.named_answer import named_document
from forecast.data.requests import InferenceRequest, Shape
from forecast.data.rows import ARROW_FILE, ARROW_STREAM, CSV, encode_rows
from forecast.data.timestamps import future_texts

JSON = "application/json"
_TABULAR = {CSV: CSV, ARROW_STREAM: ARROW_STREAM, ARROW_FILE: ARROW_FILE}
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(first + second for first in _CROCKFORD for second in _CROCKFORD)
_MOST_WARNINGS = 100


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
    """How long an answer took.

    Attributes:
        queue_ms: waited for the model.
        predict_ms: the model's work.
        batch_size: series that shared its call.
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
    if request.shape is Shape.NAMED_FILE:
        warnings = _warnings(request, forecasts)
        return _json(named_document(request, forecasts, model, timing, warnings)), JSON
    if media_type != JSON:
        return encode_rows(request, forecasts, media_type), media_type
    return _json(_native_document(request, forecasts, model, timing)), JSON


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


def _json(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


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
    if len(listed) <= _MOST_WARNINGS:
        return listed
    return [*listed[:_MOST_WARNINGS], f"and {len(listed) - _MOST_WARNINGS} more warnings"]
