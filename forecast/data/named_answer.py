"""Forecasts → the answer of the named file shape."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from forecast.core.clock import clock_texts
from forecast.core.types import FloatArray, Forecast, Series

if TYPE_CHECKING:
    from forecast.data.answers import ModelFacts, Timing
    from forecast.data.requests import InferenceRequest

MEAN = "mean"


def named_document(
    request: "InferenceRequest",
    forecasts: Sequence[Forecast],
    model: "ModelFacts",
    timing: "Timing",
    warnings: list[str],
) -> dict[str, Any]:
    """Make the document; see `NamedFileResponse` for what is in it."""
    return {
        "prediction": _prediction(request, forecasts, warnings),
        "visualization_data": _visualization(request, forecasts[0].mean.shape[1]),
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


def _prediction(
    request: "InferenceRequest", forecasts: Sequence[Forecast], warnings: list[str]
) -> dict[str, Any]:
    named = request.named_file
    assert named is not None
    levels = request.task.quantile_levels
    bands = [_bands(forecast, named.band_indices) for forecast in forecasts]
    prediction: dict[str, Any] = {
        "point_forecast": [np.ascontiguousarray(forecast.mean[0]) for forecast in forecasts],
        "quantile_forecast": [_columns(forecast) for forecast in forecasts] if levels else None,
        "quantile_bands": bands[0],
        "method": "covariates_enhanced" if named.covariates else "basic",
        "metadata": {
            "input_series_count": len(forecasts),
            "context_length": request.series[0].length,
            "forecast_length": request.task.horizon,
            "frequency": request.series[0].freq.alias if request.series[0].freq else None,
            "target_names": named.targets,
            "covariates_used": bool(named.covariates),
            "covariates": named.covariates,
            "quantiles_available": bool(levels),
            "quantile_columns": [MEAN, *levels] if levels else [],
            "intervals": forecasts[0].intervals,
            "warnings": warnings,
        },
    }
    if len(forecasts) > 1:
        prediction["quantile_bands_by_target"] = dict(zip(named.targets, bands, strict=True))
    return prediction


def _columns(forecast: Forecast) -> FloatArray:
    """Put the mean before the quantiles: [H, 1 + Q]."""
    stacked = np.concatenate([forecast.mean, forecast.quantiles[0]])
    return np.ascontiguousarray(stacked.T)


def _bands(forecast: Forecast, indices: Sequence[int]) -> dict[str, Any]:
    """Make a band between each two neighbours of `indices`; 1 is the lowest level."""
    bands: dict[str, Any] = {}
    for number, (low, high) in enumerate(zip(indices[:-1], indices[1:], strict=True)):
        name = f"quantile_band_{number}"
        bands[f"{name}_lower"] = np.ascontiguousarray(forecast.quantiles[0, low - 1])
        bands[f"{name}_upper"] = np.ascontiguousarray(forecast.quantiles[0, high - 1])
        lower, upper = forecast.quantile_levels[low - 1], forecast.quantile_levels[high - 1]
        bands[f"{name}_label"] = f"Q{_percent(lower)}–Q{_percent(upper)}"
    return bands


def _percent(level: float) -> str:
    """Write a level in percent: 10, 2.5; two digits at least, as old callers had it."""
    text = f"{100 * level:.10g}"
    return text.zfill(2) if text.isdigit() else text


def _visualization(request: "InferenceRequest", horizon: int) -> dict[str, Any]:
    named, first = request.named_file, request.series[0]
    assert named is not None
    past, future = first.past_timestamps, first.future_timestamps(horizon)
    assert past is not None
    assert future is not None
    document: dict[str, Any] = {
        **_history(first, named.actual_future[0]),
        "dates_historical": clock_texts(past, first.clock),
        "dates_future": clock_texts(future, first.clock),
        "target_name": named.targets[0],
    }
    if len(named.targets) > 1:
        document["by_target"] = {
            series.item_id: _history(series, known)
            for series, known in zip(request.series, named.actual_future, strict=True)
        }
    return document


def _history(series: Series, known: FloatArray) -> dict[str, FloatArray]:
    return {  # NaN is written as null
        "historical_data": np.ascontiguousarray(series.target[0]),
        "actual_future": np.ascontiguousarray(known),
    }
