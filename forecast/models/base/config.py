"""What a caller may set: of a model when it is loaded or trained, and in each request."""

from enum import StrEnum
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

CONTEXT_LIMIT = 16_384
"""Longest context of a network that forecasts its whole horizon at once."""
LEVELS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


class TrainingMode(StrEnum):
    """What training starts from."""

    ZERO_SHOT = "zero_shot"
    FINE_TUNE = "fine_tune"
    FROM_SCRATCH = "from_scratch"


class TrainingBackend(StrEnum):
    """Whose training a family uses."""

    TRANSFORMERS = "transformers"
    PYTORCH = "pytorch"
    CUSTOM = "custom"


class ModelConfig(BaseModel):
    """Set when a model is loaded and saved with its weights. Families add fields of their own.

    Attributes:
        device: `auto`, `cpu`, `cuda` or `mps`; what is not there is an error, never a
            silent run on the CPU.
        context_length: the most past steps used; None for all the model can use.
        horizon: the horizon of a request that names none.
        batch_size: the most series, or training windows, of one call of the model.
        operator_fields: names of the fields that only the operator of a deployment sets, such
            as a key; no caller does, and no file of weights. They are never saved or shown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    operator_fields: ClassVar[frozenset[str]] = frozenset()

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda|mps)(:\d+)?$")
    context_length: int | None = Field(None, ge=1, le=1_000_000)
    horizon: int | None = Field(None, ge=1, le=100_000)
    batch_size: int = Field(32, ge=1, le=4096)


class LoraConfig(BaseModel):
    """Low-rank adaptation: W + (alpha / rank) B A, with only A and B trained.

    Hu et al. 2021, arXiv:2106.09685. The adapters are merged into the weights when training
    ends, so what is saved needs nothing besides itself.

    Attributes:
        target_modules: names of the layers that get an adapter, or one regular expression;
            None for those the family recommends.
        modules_to_save: layers trained whole beside the adapters, such as a new head.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(8, ge=1, le=1024)
    alpha: float = Field(16.0, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] | str | None = None
    modules_to_save: tuple[str, ...] = ()


class DistributedConfig(BaseModel):
    """Training over several processes, one per device, that `torchrun` starts.

    Attributes:
        strategy: `ddp` keeps a copy of the network in each process, `fsdp` and `deepspeed`
            share it out.
        backend: of the messages; None takes nccl on CUDA and gloo elsewhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: Literal["ddp", "fsdp", "deepspeed"] = "ddp"
    backend: Literal["gloo", "nccl"] | None = None
    timeout_s: float = Field(1800.0, gt=0, le=86_400)


class TrainingConfig(ModelConfig):
    """Set for a model that can be trained. Families add fields, and defaults of their own.

    Attributes:
        max_epochs: passes over the training windows; None leaves the end to `max_steps`.
        max_steps: batches in all; None leaves the end to `max_epochs`.
        early_stopping: passes over the validation windows without a better loss before
            training ends; None never ends early. The best weights are kept either way.
        learning_rate_schedule: after the warm-up; `cosine` falls to 0 at the last step.
        stride: steps between the starts of neighbouring training windows.
        gradient_clip: largest norm of the gradients; None for no limit.
        use_mixed_precision: bfloat16 where the device is fast at it, on CUDA.
        lora: train adapters instead of all weights.
        distributed: share the work between the processes that `torchrun` started.
    """

    training_mode: TrainingMode = TrainingMode.FINE_TUNE
    learning_rate: float = Field(1e-3, gt=0, le=10)
    weight_decay: float = Field(0.0, ge=0, le=10)
    learning_rate_schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = Field(0, ge=0, le=1_000_000)
    max_epochs: int | None = Field(10, ge=1, le=100_000)
    max_steps: int | None = Field(None, ge=1, le=10_000_000)
    early_stopping: int | None = Field(None, ge=1, le=100_000)
    stride: int = Field(1, ge=1, le=100_000)
    gradient_clip: float | None = Field(1.0, gt=0)
    use_mixed_precision: bool = False
    seed: int = Field(0, ge=0, lt=2**32)
    lora: LoraConfig | None = None
    distributed: DistributedConfig | None = None

    @model_validator(mode="after")
    def _has_an_end(self) -> Self:
        if self.max_epochs is None and self.max_steps is None:
            raise ValueError("training needs an end: set max_epochs or max_steps")
        return self


class TuningConfig(TrainingConfig):
    """Set for a family whose published checkpoints are fine-tuned and never trained anew.

    The defaults change a good checkpoint little: small steps, and a bounded number of them.

    Attributes:
        context_length: the most past steps used, of a request and of a training window; None
            for all the checkpoint can use.
        horizon: steps that training windows forecast, at most what the checkpoint forecasts at
            once, and the horizon of a request that names none.
    """

    learning_rate: float = Field(1e-5, gt=0, le=10)
    max_epochs: int | None = Field(None, ge=1, le=100_000)
    max_steps: int | None = Field(1000, ge=1, le=10_000_000)


class NetworkConfig(TrainingConfig):
    """Set for a model whose network is built here and trained from scratch."""

    training_mode: TrainingMode = TrainingMode.FROM_SCRATCH
    hidden_dim: int = Field(128, ge=1, le=16_384)
    num_attention_heads: int = Field(4, ge=1, le=256)
    num_layers: int = Field(2, ge=1, le=256)
    dropout: float = Field(0.1, ge=0, lt=1)


class DirectConfig(NetworkConfig):
    """Set for a network that forecasts its whole horizon at once, with quantiles.

    Attributes:
        context_length: past steps that a forecast reads; a shorter past is padded.
        horizon: steps forecast at once, and the longest horizon of a request.
        quantile_levels: levels that are trained; others are interpolated.
    """

    context_length: int = Field(96, ge=2, le=CONTEXT_LIMIT)
    horizon: int = Field(24, ge=1, le=10_000)
    quantile_levels: tuple[float, ...] = LEVELS

    @model_validator(mode="after")
    def _has_levels_in_order(self) -> Self:
        levels = self.quantile_levels
        if not levels or list(levels) != sorted(set(levels)) or levels[0] <= 0 or levels[-1] >= 1:
            raise ValueError("quantile_levels must increase strictly, each between 0 and 1")
        return self


class ModelOptions(BaseModel):
    """`model_options` of a request. Hashable; families add fields of their own.

    Attributes:
        ignore_covariates: drop the covariates that the model cannot use, rather than
            refuse the request.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ignore_covariates: bool = Field(
        False, description="Drop covariates the model cannot use instead of refusing the request."
    )
