"""The named file shape: a file, its columns by name and role, and what is asked of it."""

from typing import Annotated, Any, Literal

from pydantic import Field

from forecast.core.labels import Label
from forecast.core.types import Intervals
from forecast.data.inline import (
    AS_OF_FIELD,
    INTERVALS_FIELD,
    LABEL_FIELD,
    MAX_CONTEXT,
    MAX_HORIZON,
    STRICT_FIELD,
    VERSION_FIELD,
    Moment,
    VersionName,
)
from forecast.data.validation import WireModel

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


class NamedFileParameters(WireModel):
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
    as_of: Moment = AS_OF_FIELD
    version: VersionName = VERSION_FIELD
    strict: bool | None = STRICT_FIELD
    intervals: Intervals | None = INTERVALS_FIELD
    seed: int = Field(0, ge=0, lt=2**32)
    timeout_s: float | None = Field(None, gt=0, description="Give up after so many seconds.")
    model_options: dict[str, Any] = Field({}, description="The model's own options.")


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
