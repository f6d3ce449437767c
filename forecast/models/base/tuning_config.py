"""What may be set for a family whose published checkpoints are fine-tuned, and nothing else."""

from pydantic import Field

from forecast.models.base.config import TrainingConfig


class TuningConfig(TrainingConfig):
    """Defaults that change a good checkpoint little: small steps, and a bounded number of them.

    Attributes:
        context_length: the most past steps used, of a request and of a training window; None
            for all the checkpoint can use.
        horizon: the steps that training windows ask for, as far as the checkpoint forecasts
            them at once, and the horizon of a request that names none.
    """

    learning_rate: float = Field(1e-5, gt=0, le=10)
    max_epochs: int | None = Field(None, ge=1, le=100_000)
    max_steps: int | None = Field(1000, ge=1, le=10_000_000)
