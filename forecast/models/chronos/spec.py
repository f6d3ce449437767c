"""What Chronos is (Ansari et al. 2024, arXiv:2403.07815; 2025, arXiv:2510.15821)."""

from pydantic import Field

from forecast.models.base.config import ModelOptions, TrainingBackend, TuningConfig
from forecast.models.spec import Capabilities, License, ModelSpec


class ChronosConfig(TuningConfig):
    """How Chronos is fine-tuned.

    Attributes:
        known_ahead: covariates known for the future, beside those whose training series come
            with future values; of Chronos-2 only, as all covariates are.
    """

    known_ahead: tuple[str, ...] = ()


class ChronosOptions(ModelOptions):
    """How Chronos-T5 samples its paths; Chronos-Bolt and Chronos-2 do not sample.

    Attributes:
        temperature: below 1 narrows the distribution of each step, above 1 widens it.
        top_k: sample among the so many likeliest values of each step.
        top_p: sample among the likeliest values that together have this probability.
    """

    temperature: float | None = Field(
        None, gt=0, le=10, description="Chronos-T5 only: below 1 narrows, above 1 widens."
    )
    top_k: int | None = Field(
        None, ge=1, description="Chronos-T5 only: sample among the k likeliest values."
    )
    top_p: float | None = Field(
        None, gt=0, le=1, description="Chronos-T5 only: sample within this probability mass."
    )


SPEC = ModelSpec(
    model_id="chronos",
    name="Chronos",
    version="2.3.2",
    description="Amazon Chronos-T5, Chronos-Bolt and Chronos-2",
    default_port=8002,
    model="forecast.models.chronos.model:ChronosModel",
    weights="hf:amazon/chronos-bolt-small@main",
    capabilities=Capabilities(  # of the three kinds together; a checkpoint narrows them
        fine_tunable=True,
        lora=True,
        multivariate=True,
        past_covariates=True,
        future_covariates=True,
        categorical_covariates=True,
        missing_values=True,
        max_context=8192,
        max_horizon=1024,
    ),
    license=License(
        "Apache-2.0",
        True,
        "https://github.com/amazon-science/chronos-forecasting/blob/main/LICENSE",
    ),
    extra="chronos",
    config=ChronosConfig,
    options=ChronosOptions,
    training_backend=TrainingBackend.PYTORCH,
    distributed=True,
    variants=("bolt", "t5", "chronos2"),
)
