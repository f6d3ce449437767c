"""What timesfm20 is."""

from typing import Literal

from pydantic import Field

from forecast.models.base.config import TrainingBackend, TuningConfig
from forecast.models.base.regression import RegressionOptions
from forecast.models.spec import Capabilities, License, ModelSpec

MAX_CONTEXT = 2048


class TimesFM20Options(RegressionOptions):
    """What a request may set; the defaults are those of the authors' package.

    Attributes:
        frequency_input: the class of frequency that the network is told: 0 up to daily, 1
            weekly and monthly, 2 quarterly and slower; `auto` takes it from the series'
            `freq`, and 0 where there is none.
        truncate_negative: forecast nothing below zero where the whole context is not below.
    """

    frequency_input: Literal["auto", 0, 1, 2] = Field(
        "auto", description="0 up to daily, 1 weekly and monthly, 2 slower; auto: from freq."
    )
    truncate_negative: bool = Field(
        False, description="Forecast nothing below zero where the context is not below zero."
    )


SPEC = ModelSpec(
    model_id="timesfm20",
    name="TimesFM 2.0",
    version="2.0.500m",
    description="TimesFM 2.0 of Google, 500M parameters",
    default_port=8001,
    model="forecast.models.timesfm20.model:TimesFM20Model",
    weights="hf:google/timesfm-2.0-500m-pytorch@main",
    capabilities=Capabilities(
        fine_tunable=True,
        lora=True,
        future_covariates=True,
        categorical_covariates=True,
        missing_values=True,
        max_context=MAX_CONTEXT,
        max_horizon=2048,
    ),
    license=License(
        "Apache-2.0", True, "https://github.com/google-research/timesfm/blob/master/LICENSE"
    ),
    extra="timesfm",
    config=TuningConfig,
    options=TimesFM20Options,
    training_backend=TrainingBackend.PYTORCH,
    distributed=True,
)
