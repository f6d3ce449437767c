"""The named-file shape: a file with a role per column, and the answer in its own layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from forecast.core.clock import clock_texts
from forecast.core.labels import Label
from forecast.core.types import FloatArray, Forecast, Series
from forecast.core.validation import WireModel
from forecast.data.inline import LABEL_FIELD, MAX_CONTEXT, MAX_HORIZON, CommonParameters

Role = Literal[
    "target",
    "dynamic_numerical",
    "dynamic_categorical",
    "static_numerical",
    "static_categorical",
]
KNOWN_FUTURE_FIELD: Any = Field(
    [],
    max_length=1000,
    description="Dynamic columns whose values are known ahead. Of every other column nothing after"
    " the context is used, whatever the file holds.",
    examples=[["price"]],
)
Time = Annotated[str, Field(examples=["2024-03-31"])]


class NamedFileParameters(CommonParameters):
    """What is asked of the file."""

    context_len: int | None = Field(
        None, ge=1, le=MAX_CONTEXT, description="Use the last so many steps; by default all."
    )
    horizon_len: int | None = Field(
        None,
        ge=1,
        le=MAX_HORIZON,
        description="Steps to forecast; by default what the model was initialized with.",
    )
    use_covariates: bool = Field(
        False,
        description="Use the dynamic and static columns. Those in `known_future` need a value for"
        " each of the `horizon_len` steps after the context.",
    )
    use_quantiles: bool | None = Field(
        None, description="Answer quantiles; by default where the model has them."
    )
    quantiles: list[float] | None = Field(
        None,
        min_length=1,
        max_length=99,
        description="Levels in (0, 1) of `quantile_forecast`; 0.1 to 0.9 by default.",
    )
    quantile_indices: list[int] | None = Field(
        None,
        max_length=100,
        description="Which columns of `quantile_forecast` bound the bands: 0 is the mean and"
        " bounds none, 1 is the lowest level. By default 1, 3, 5, 7, 9, or every column where"
        " `quantiles` are given.",
    )
    context_start_date: Time | None = Field(
        None, description="First time of the context; the first of the file by default."
    )
    context_end_date: Time | None = Field(
        None,
        description="Last time of the context; by default the last with an observed target,"
        " or `as_of` where that is earlier."
        " What the file knows after it is answered as `actual_future`.",
    )


class NamedFileRequest(WireModel):
    """Forecast columns of a file that is named, not sent."""

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "data_source_url_or_path": "local://data/sales.csv",
                    "data_definition": {"sales": "target", "price": "dynamic_numerical"},
                    "known_future": ["price"],
                    "parameters": {
                        "context_len": 64,
                        "horizon_len": 24,
                        "use_covariates": True,
                        "use_quantiles": True,
                        "quantile_indices": [1, 3, 5, 7, 9],
                        "context_end_date": "2024-03-31",
                    },
                }
            ]
        }
    }

    data_source_url_or_path: str = Field(
        min_length=1,
        max_length=4096,
        description="An http(s) URL, `local://data/…` or a file under the data folder: CSV, JSON,"
        " XLSX, Parquet or Arrow with a `date` column.",
    )
    data_definition: dict[str, Role] = Field(
        min_length=1, description="Column → role. Several targets are forecast each on its own."
    )
    known_future: list[str] = KNOWN_FUTURE_FIELD
    label: Label | None = LABEL_FIELD
    parameters: NamedFileParameters = NamedFileParameters()


class NamedFilePrediction(WireModel):
    """The forecast; first axis: the targets in the order of `data_definition`."""

    point_forecast: list[list[float]] = Field(description="[targets][steps]")
    quantile_forecast: list[list[list[float]]] | None = Field(
        description="[targets][steps][columns]; the columns are in `metadata.quantile_columns`:"
        " first the mean, then the levels, ascending."
    )
    quantile_bands: dict[str, list[float] | str] = Field(
        description="`quantile_band_<i>_lower`, `_upper` and `_label` of the first target, each"
        " between two neighbours of `quantile_indices`; `Q10–Q30` holds what lies between the"
        " 0.1 and the 0.3 quantile."
    )
    quantile_bands_by_target: dict[str, dict[str, list[float] | str]] | None = Field(
        None, description="The same for each target, where there are several."
    )
    method: Literal["basic", "covariates_enhanced"]
    metadata: dict[str, Any]


class VisualizationData(WireModel):
    """What a chart needs; of the first target, and of each where there are several."""

    historical_data: list[float | None] = Field(description="The context that was used.")
    dates_historical: list[str]
    dates_future: list[str]
    target_name: str
    actual_future: list[float | None] = Field(
        description="What the file knows after the context, step by step; null is missing."
    )
    by_target: dict[str, dict[str, list[float | None]]] | None = None


class NamedFileResponse(WireModel):
    """The forecast of a named file."""

    prediction: NamedFilePrediction
    visualization_data: VisualizationData
    execution_metadata: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class NamedFile:
    """What the answer needs besides the series and their forecasts.

    Attributes:
        band_indices: columns of the quantile forecast that bound the bands, increasing.
        actual_future: per target, what the file holds after the context, [at most H].
        covariates: names of the columns used besides the targets.
    """

    band_indices: tuple[int, ...]
    actual_future: tuple[FloatArray, ...]
    covariates: tuple[str, ...]


def named_document(
    named: NamedFile,
    series: Sequence[Series],
    forecasts: Sequence[Forecast],
    warnings: list[str],
) -> dict[str, Any]:
    """Build `prediction` and `visualization_data` of a `NamedFileResponse`."""
    return {
        "prediction": _prediction(named, series, forecasts, warnings),
        "visualization_data": _visualization(named, series, forecasts[0].mean.shape[1]),
    }


def _prediction(
    named: NamedFile,
    series: Sequence[Series],
    forecasts: Sequence[Forecast],
    warnings: list[str],
) -> dict[str, Any]:
    first, levels = series[0], forecasts[0].quantile_levels
    bands = {
        one.item_id: _bands(forecast, named.band_indices)
        for one, forecast in zip(series, forecasts, strict=True)
    }
    prediction: dict[str, Any] = {
        "point_forecast": [np.ascontiguousarray(forecast.mean[0]) for forecast in forecasts],
        "quantile_forecast": [_columns(forecast) for forecast in forecasts] if levels else None,
        "quantile_bands": bands[first.item_id],
        "method": "covariates_enhanced" if named.covariates else "basic",
        "metadata": {
            "input_series_count": len(forecasts),
            "context_length": first.length,
            "forecast_length": forecasts[0].mean.shape[1],
            "frequency": first.freq.alias if first.freq else None,
            "target_names": list(bands),
            "covariates_used": bool(named.covariates),
            "covariates": named.covariates,
            "quantiles_available": bool(levels),
            "quantile_columns": ["mean", *levels] if levels else [],
            "intervals": forecasts[0].intervals,
            "warnings": warnings,
        },
    }
    if len(bands) > 1:
        prediction["quantile_bands_by_target"] = bands
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


def _visualization(named: NamedFile, series: Sequence[Series], horizon: int) -> dict[str, Any]:
    first = series[0]
    past, future = first.past_timestamps, first.future_timestamps(horizon)
    assert past is not None
    assert future is not None
    history = {
        one.item_id: {  # NaN is written as null
            "historical_data": np.ascontiguousarray(one.target[0]),
            "actual_future": np.ascontiguousarray(known),
        }
        for one, known in zip(series, named.actual_future, strict=True)
    }
    document: dict[str, Any] = {
        **history[first.item_id],
        "dates_historical": clock_texts(past, first.clock),
        "dates_future": clock_texts(future, first.clock),
        "target_name": first.item_id,
    }
    if len(history) > 1:
        document["by_target"] = history
    return document
