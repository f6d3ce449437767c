"""The native shape: series sent inline as JSON, and the forecasts answered."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from forecast.core.labels import Label
from forecast.core.types import Intervals
from forecast.core.validation import WireModel

MAX_HORIZON = 100_000
MAX_CONTEXT = 1_000_000
MAX_CATEGORY = 256  # characters

_NUMBER = {"anyOf": [{"type": "number"}, {"type": "null"}]}
_NUMBERS = {"type": "array", "items": _NUMBER}
_VALUE = {"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "boolean"}, {"type": "null"}]}
_VALUES = {"type": "object", "additionalProperties": {"type": "array", "items": _VALUE}}
_CONSTANT = {"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "boolean"}]}


def _text_of_number(value: Any) -> Any:
    return str(value) if type(value) is int else value


ItemId = Annotated[
    str,
    Field(min_length=1, max_length=256),
    BeforeValidator(_text_of_number, json_schema_input_type=str | int),
]

# Long lists pass pydantic untouched: NumPy reads them five times faster.
Target = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {**_NUMBERS, "minItems": 1},
                {"type": "array", "minItems": 1, "items": {**_NUMBERS, "minItems": 1}},
            ]
        }
    ),
]
Covariates = Annotated[dict[str, Any], WithJsonSchema(_VALUES)]
Constants = Annotated[
    dict[str, Any], WithJsonSchema({"type": "object", "additionalProperties": _CONSTANT})
]
Times = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "number"}]}},
                {"type": "null"},
            ]
        }
    ),
]
VersionName = Annotated[str | None, Field(min_length=1, max_length=256)]
Numbers = Annotated[
    list[float] | list[list[float]],
    Field(description="One number a step; a list per channel where the target was such."),
]

LABEL_FIELD: Any = Field(
    None,
    description="What a timestamp says of its period: its `start`, its `end`, or the `instant` of a"
    " reading. A step is known, as of a moment, once its period is over. By default the convention"
    " of the frequency.",
)

_SERIES: dict[str, Any] = {
    "item_id": "store_1",
    "target": [12, 15, None, 19],
    "start": "2026-01-01",
    "freq": "D",
}
_COVARIATES: dict[str, Any] = {
    "past_covariates": {"visits": [90, 88, 101, 120], "promo": [0, 0, 1, 0]},
    "future_covariates": {"promo": [1, 0]},
    "static_covariates": {"region": "north"},
}


class SeriesInput(WireModel):
    """One series with its covariates.

    Its times are given by `start` and `freq`, or by `timestamps`, or not at all.
    """

    item_id: ItemId | None = Field(
        None, description="Name of the series in the answer; its number in `inputs` by default."
    )
    target: Target = Field(
        description="Values, oldest first; null is missing. One list, or one list per channel"
        " for a model that forecasts several targets together.",
        examples=[[12, 15, None, 19], [[1, 2, 3], [10, 20, 30]]],
    )
    start: str | None = Field(
        None,
        description="ISO 8601 time of the first value; needs `freq`. With a UTC offset days"
        " and months are those of that clock, and the answer has the offset too.",
        examples=["2026-01-01", "2026-01-01T06:00:00Z"],
    )
    freq: str | None = Field(
        None,
        description="Pandas offset alias; inferred from `timestamps` where those are sent. `ME`,"
        " `QE` and `YE` with a start on the first day of a month mean `MS`, `QS` and `YS`.",
        examples=["D", "h", "15min", "MS", "W-SUN", "B"],
    )
    label: Label | None = LABEL_FIELD
    timestamps: Times = Field(
        None,
        description="ISO 8601 times, increasing, one a value. Gaps on the grid become missing"
        " values, and a warning says so.",
        examples=[["2026-01-01", "2026-01-02", "2026-01-04"]],
    )
    past_covariates: Covariates = Field(
        {},
        description="Name → one value per step of the target: numbers (null is missing),"
        " booleans for 1 and 0, or text for categories (null is the category of none).",
        examples=[{"visits": [90, 88, 101, 120]}],
    )
    future_covariates: Covariates = Field(
        {},
        description="Name → exactly `horizon` values known ahead, none missing; the past values"
        " of the same name stand under `past_covariates`.",
        examples=[{"promo": [1, 0]}],
    )
    static_covariates: Constants = Field(
        {}, description="Name → what is constant for the series.", examples=[{"region": "north"}]
    )


class CommonParameters(WireModel):
    """Parameters that requests of every shape have."""

    as_of: Annotated[str | None, Field(max_length=64)] = Field(
        None,
        description="Forecast as of this day (all of it) or ISO 8601 time: what lies after it is"
        " dropped, and the newest version answers that was trained on nothing after it.",
        examples=["2025-12-31", "2025-12-31T12:00:00"],
    )
    version: VersionName = Field(
        None,
        description="Use this version, alias or snapshot of the model.",
        examples=["current", "snapshot_2020-12-31"],
    )
    strict: bool | None = Field(
        None,
        description="With `as_of`: refuse (422), rather than warn of, weights that have seen what"
        " came after it, or may have; true unless false is sent.",
    )
    intervals: Intervals | None = Field(
        None,
        description="How quantiles are made: `conformal` calibrates them on the errors of earlier"
        " forecasts; `native` answers those of the model itself. The default is `native` for"
        " published checkpoints that have quantiles, and `conformal` otherwise.",
    )
    seed: int = Field(
        0, ge=0, lt=2**32, description="The same series and seed give the same forecast."
    )
    timeout_s: float | None = Field(
        None, gt=0, description="Give up after so many seconds (504).", examples=[30]
    )
    model_options: dict[str, Any] = Field(
        {},
        description="The model's own options, in its documentation; `ignore_covariates` for all.",
        examples=[{"ignore_covariates": True}],
    )


class Parameters(CommonParameters):
    """What is asked of every series of the request."""

    horizon: int | None = Field(
        None,
        ge=1,
        le=MAX_HORIZON,
        description="Steps to forecast; by default what the model was initialized with.",
        examples=[24],
    )
    quantile_levels: list[float] | None = Field(
        None,
        max_length=99,
        description="Levels in (0, 1), each once; empty for point forecasts. By default 0.1, 0.5"
        " and 0.9 where the model has quantiles.",
        examples=[[0.1, 0.5, 0.9]],
    )
    context_length: int | None = Field(
        None, ge=1, le=MAX_CONTEXT, description="Use only the last so many steps.", examples=[512]
    )
    num_samples: int | None = Field(
        None, ge=1, le=10_000, description="Paths that a sampling model draws."
    )


class ForecastRequest(WireModel):
    """Forecast series that are sent inline."""

    model_config = {
        "json_schema_extra": {
            "examples": [
                {"inputs": [_SERIES], "parameters": {"horizon": 2}},
                {
                    "inputs": [_SERIES | _COVARIATES],
                    "parameters": {"horizon": 2, "quantile_levels": [0.1, 0.5, 0.9], "seed": 7},
                },
            ]
        }
    }

    inputs: list[SeriesInput] = Field(min_length=1, description="The series, each on its own.")
    parameters: Parameters = Parameters()


class AnswerModel(WireModel):
    """Which model answered, and from what weights."""

    id: str = Field(examples=["chronos"])
    version: str = Field(
        description="Of the stored weights; of the family where they are from elsewhere.",
        examples=["2.3.2", "v2026-11-21-3f9c2a1"],
    )
    source: str | None = Field(description="Where the weights came from.")
    cutoff: str | None = Field(
        description="The day, or time, of the newest data the weights have seen, where known."
    )
    sha256: str | None = Field(description="Checksum of the weights, where known.")


class Prediction(WireModel):
    """The forecast of one series."""

    item_id: str
    channels: list[str] | None = Field(
        None, description="Names of the channels, where the target had several."
    )
    timestamps: list[str] | None = Field(
        None, description="Days or times of the steps; absent where time is not known."
    )
    mean: Numbers
    quantiles: dict[str, Numbers] = Field(description="Level → values; levels never cross.")
    intervals: Intervals | None = Field(
        description="How the quantiles were made; null where there are none."
    )
    methods: dict[str, float] | None = Field(
        None, description="Method → weight, where the forecast combines several methods."
    )


class Usage(WireModel):
    input_points: int = Field(description="Values of all targets, missing ones included.")
    output_points: int = Field(description="Steps forecast, of all series and channels.")


class AnswerTiming(WireModel):
    queue_ms: float = Field(description="Wait for the model, in milliseconds.")
    predict_ms: float = Field(description="Work of the model, in milliseconds.")
    batch_size: int = Field(description="Series that shared the call of the model.")


class ForecastResponse(WireModel):
    """The forecasts, in the order of the series."""

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "id": "fc_01KB3VG1S8T6W5N9ZQ4XJ2M7RC",
                    "model": {
                        "id": "chronos",
                        "version": "2.3.2",
                        "source": "hf:amazon/chronos-bolt-small",
                        "cutoff": None,
                        "sha256": None,
                    },
                    "predictions": [
                        {
                            "item_id": "store_1",
                            "timestamps": ["2026-01-05", "2026-01-06"],
                            "mean": [18.1, 18.4],
                            "quantiles": {"0.1": [15.2, 15.0], "0.9": [21.1, 21.9]},
                            "intervals": "native",
                        }
                    ],
                    "usage": {"input_points": 4, "output_points": 2},
                    "timing": {"queue_ms": 1.2, "predict_ms": 40.3, "batch_size": 8},
                    "warnings": [],
                }
            ]
        }
    }

    id: str = Field(description="Identifies the answer; sorts by time.")
    model: AnswerModel
    predictions: list[Prediction]
    usage: Usage
    timing: AnswerTiming
    warnings: list[str] = Field(description="What a caller should know of how this was made.")
