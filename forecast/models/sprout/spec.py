"""What Sprout is, and what a request may ask of it."""

from typing import Annotated, Literal

from pydantic import Field

from forecast.core.lookahead import Root
from forecast.models.base.config import ModelOptions, TrainingBackend, TuningConfig
from forecast.models.spec import Capabilities, License, ModelSpec

_LONGEST_SEASON = 384

Season = Annotated[int, Field(ge=1, le=_LONGEST_SEASON)]


class SproutConfig(TuningConfig):
    """How Sprout is fine-tuned."""

    learning_rate: float = Field(1e-3, gt=0, le=10)
    learning_rate_schedule: Literal["constant", "cosine"] = "cosine"
    max_steps: int | None = Field(300, ge=1, le=10_000_000)


class SproutOptions(ModelOptions):
    """Which seasons to look for first."""

    season_lengths: Annotated[tuple[Season, ...], Field(min_length=1, max_length=2)] | None = Field(
        None,
        description="Steps in one or two seasons, such as [24, 168]; 1 for none. By default those"
        " of the frequency. The forecast is the mean of one with these and one with the seasons"
        " found in the data; what explains the past better counts for more.",
    )


SPEC = ModelSpec(
    model_id="sprout",
    name="Sprout",
    version="0.1.0",
    description="A small foundation model that comes with the gateway, pretrained on synthetic"
    " series only; zero-shot and ready at once",
    default_port=8016,
    model="forecast.models.sprout.model:SproutModel",
    weights="package:sprout",
    capabilities=Capabilities(
        fine_tunable=True,
        lora=True,
        missing_values=True,
        multivariate=True,
        future_covariates=True,
        max_context=768,
        max_horizon=1024,
    ),
    license=License("Apache-2.0", True, "https://www.apache.org/licenses/LICENSE-2.0"),
    checkpoints=(Root(source="package:sprout", training_data="synthetic"),),
    config=SproutConfig,
    options=SproutOptions,
    training_backend=TrainingBackend.PYTORCH,
)
