"""What Moirai is (Woo et al. 2024, arXiv:2402.02592; Liu et al. 2024, arXiv:2410.10469).

Moirai 2 is Liu et al. 2025, arXiv:2511.11698.
"""

from typing import Literal

from pydantic import Field

from forecast.models.base.config import ModelOptions, TrainingBackend, TrainingConfig
from forecast.models.spec import Capabilities, License, ModelSpec

LONGEST_CONTEXT, LONGEST_HORIZON = 4096, 1024


class MoiraiConfig(TrainingConfig):
    """Set when a checkpoint is loaded, or a Moirai 2 is fine-tuned.

    Attributes:
        context_length: the most past steps used; of a training window, 512 where it is None.
        horizon: steps of a training window after its context; at most the block that the
            network forecasts at once, which it is where this is None.
    """

    learning_rate: float = Field(1e-4, gt=0, le=10)
    learning_rate_schedule: Literal["constant", "cosine"] = "cosine"
    early_stopping: int | None = Field(5, ge=1, le=100_000)


class MoiraiOptions(ModelOptions):
    """Set in a request.

    Attributes:
        patch_size: steps that Moirai 1 reads as one; None takes it from the frequency.
    """

    patch_size: Literal[8, 16, 32, 64, 128] | None = Field(
        None, description="Moirai 1 only: steps read as one; by the frequency where absent."
    )


SPEC = ModelSpec(
    model_id="moirai",
    name="Moirai",
    version="0.1.3",
    description="Salesforce Moirai 1, Moirai-MoE and Moirai 2; weights for non-commercial use",
    default_port=8006,
    model="forecast.models.moirai.model:MoiraiModel",
    weights="hf:Salesforce/moirai-2.0-R-small@main",
    capabilities=Capabilities(
        fine_tunable=True,  # Moirai 2
        lora=True,
        multivariate=True,
        past_covariates=True,
        future_covariates=True,  # Moirai 1
        missing_values=True,
        max_context=LONGEST_CONTEXT,
        max_horizon=LONGEST_HORIZON,
    ),
    license=License("CC-BY-NC-4.0", False, "https://creativecommons.org/licenses/by-nc/4.0/"),
    extra="moirai",
    config=MoiraiConfig,
    options=MoiraiOptions,
    training_backend=TrainingBackend.PYTORCH,
    distributed=True,
    environment="moirai",
    variants=("moirai2", "moirai1", "moirai-moe"),
)
