"""What TinyTimeMixers are (Ekambaram et al. 2024, arXiv:2401.03955)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from forecast.models.base.config import TrainingBackend, TrainingConfig
from forecast.models.spec import Capabilities, License, ModelSpec

LONGEST_CONTEXT, LONGEST_BLOCK = 3072, 720  # of the published checkpoints


class TTMConfig(TrainingConfig):
    """Set when a checkpoint is loaded or fine-tuned.

    Attributes:
        tuning: `full` trains all weights; `linear_probe` leaves the backbone as it is and
            trains decoder and head, which few data suffice for.
        few_shot: share of each training series that is learned from, its newest part; at
            least one window.
        known_ahead: covariates known for the future, beside those whose training series come
            with future values.
        mix_channels: let the channels of a series learn from each other; then it always has
            these channels. With covariates they do in any case.
    """

    batch_size: int = Field(64, ge=1, le=4096)
    early_stopping: int | None = Field(5, ge=1, le=100_000)
    tuning: Literal["full", "linear_probe"] = "full"
    few_shot: float = Field(1.0, gt=0, le=1)
    known_ahead: tuple[str, ...] = ()
    mix_channels: bool = False

    @model_validator(mode="after")
    def _trains_one_way(self) -> Self:
        if self.lora is not None and self.tuning != "full":
            raise ValueError("lora trains adapters everywhere; leave tuning at full")
        return self


SPEC = ModelSpec(
    model_id="ttm",
    name="TinyTimeMixer",
    version="0.3.11",
    description="IBM Granite TinyTimeMixer r1, r2 and r3: small, fast, fine-tuned in minutes",
    default_port=8007,
    model="forecast.models.ttm.model:TTMModel",
    weights="hf:ibm-granite/granite-timeseries-ttm-r2@main",
    capabilities=Capabilities(  # of all kinds together; a checkpoint narrows them
        fine_tunable=True,
        lora=True,
        multivariate=True,
        past_covariates=True,
        future_covariates=True,
        missing_values=True,
        quantiles="calibrated",
        max_context=2 * LONGEST_CONTEXT,
        max_horizon=16 * LONGEST_BLOCK,
    ),
    license=License(
        "Apache-2.0",
        True,
        "https://huggingface.co/ibm-granite/granite-timeseries-ttm-r2",
    ),
    extra="ttm",
    config=TTMConfig,
    training_backend=TrainingBackend.TRANSFORMERS,
    distributed=True,
    environment="ttm",
    variants=("r2", "r3", "r3-dec"),
)
