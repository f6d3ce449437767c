"""What MOMENT is (Goswami et al. 2024, arXiv:2402.03885)."""

from typing import Literal

from pydantic import Field

from forecast.models.base.config import TrainingBackend, TrainingConfig
from forecast.models.spec import Capabilities, License, ModelSpec

CONTEXT = 512
SHORT_HORIZON = 64
"""Steps beyond which a reconstruction is no longer what it was trained for."""
LONGEST_UNROLL = 16


class MomentConfig(TrainingConfig):
    """Set when a checkpoint is loaded or fine-tuned.

    Attributes:
        horizon: steps that a forecasting head is trained for, 64 where it is None.
        task_name: `reconstruction` forecasts by filling in a hidden end, with nothing
            trained; `forecasting` needs a head that was trained here. None takes what the
            weights have.
        tuning: `linear_probe` trains the forecasting head alone, as the authors do; `full`
            trains the encoder with it.
    """

    task_name: Literal["reconstruction", "forecasting"] | None = None
    tuning: Literal["linear_probe", "full"] = "linear_probe"
    batch_size: int = Field(32, ge=1, le=4096)
    early_stopping: int | None = Field(5, ge=1, le=100_000)


SPEC = ModelSpec(
    model_id="moment",
    name="MOMENT",
    version="0.1.4",
    description="CMU MOMENT: short forecasts at once, longer ones from a head trained on your data",
    default_port=8009,
    model="forecast.models.moment.model:MomentModel",
    weights="hf:AutonLab/MOMENT-1-small@main",
    capabilities=Capabilities(
        fine_tunable=True,
        lora=True,
        multivariate=True,
        missing_values=True,
        quantiles="calibrated",
        min_context=8,
        max_context=CONTEXT,
        max_horizon=LONGEST_UNROLL * CONTEXT,
    ),
    license=License("MIT", True, "https://huggingface.co/AutonLab/MOMENT-1-small"),
    extra="moment",
    config=MomentConfig,
    training_backend=TrainingBackend.PYTORCH,
    distributed=True,
    environment="moment",
    variants=("reconstruction", "forecasting"),
)
