"""What timesfm25 is."""

from pydantic import Field

from forecast.models.base.config import TrainingBackend, TuningConfig
from forecast.models.base.regression import RegressionOptions
from forecast.models.spec import Capabilities, License, ModelSpec

CONTEXT_LIMIT = 16_384  # past and future together
PATCH = 32
BLOCK = 128  # steps forecast at once
LONGEST_QUANTILE_HEAD = 1024


class TimesFM25Options(RegressionOptions):
    """What a request may set; the defaults are those of the authors' README.

    Attributes:
        force_flip_invariance: forecast the series and its mirror image and average, so that
            f(-x) = -f(x); costs twice the time.
        infer_is_positive: forecast nothing below zero where the whole context is not below.
        use_continuous_quantile_head: take the spread of the quantiles from the head trained
            for it, which reaches 1024 steps; else, and beyond, from the point head.
    """

    force_flip_invariance: bool = Field(
        True, description="Average with the mirrored series; costs twice the time."
    )
    infer_is_positive: bool = Field(
        True, description="Forecast nothing below zero where the context is not below zero."
    )
    use_continuous_quantile_head: bool = Field(
        True, description="Take quantiles from the head trained for them (up to 1024 steps)."
    )


SPEC = ModelSpec(
    model_id="timesfm25",
    name="TimesFM 2.5",
    version="2.5.200m",
    description="TimesFM 2.5 of Google, 200M parameters",
    default_port=8005,
    model="forecast.models.timesfm25.model:TimesFM25Model",
    weights="hf:google/timesfm-2.5-200m-pytorch@main",
    capabilities=Capabilities(
        fine_tunable=True,
        lora=True,
        future_covariates=True,
        categorical_covariates=True,
        missing_values=True,
        max_context=CONTEXT_LIMIT - BLOCK,
        max_horizon=CONTEXT_LIMIT // 2,
    ),
    license=License(
        "Apache-2.0", True, "https://github.com/google-research/timesfm/blob/master/LICENSE"
    ),
    extra="timesfm",
    config=TuningConfig,
    options=TimesFM25Options,
    training_backend=TrainingBackend.PYTORCH,
    distributed=True,
)
