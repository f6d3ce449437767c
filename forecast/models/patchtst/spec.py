"""What PatchTST is (Nie, Nguyen, Sinthong & Kalagnanam 2023, arXiv:2211.14730)."""

from typing import Literal, Self

from pydantic import Field, model_validator

from forecast.models.base.config import NetworkConfig, TrainingBackend
from forecast.models.spec import Capabilities, License, ModelSpec


class PatchTSTConfig(NetworkConfig):
    """The defaults are the paper's PatchTST/42 for small data sets, such as ETTh1.

    Lengths and sizes are those of a network that is trained from scratch; one that is loaded
    and fine-tuned keeps its own.

    Attributes:
        context_length: steps the network reads.
        horizon: steps it forecasts at once, and the horizon of a request that names none.
        patch_length: steps that become one token.
        patch_stride: steps between the starts of neighbouring tokens.
        hidden_dim: width of a token; a multiple of `num_attention_heads`.
        ffn_dim: width of the feed-forward layers.
        dropout: in the tokens and the feed-forward layers.
        attention_dropout: of the weights of attention.
        head_dropout: before the last layer.
        loss: `mse` learns the mean, and quantiles come from the errors on the validation
            series; `nll` learns a Student-t distribution of each step.
    """

    context_length: int = Field(336, ge=2, le=100_000)
    horizon: int = Field(96, ge=1, le=10_000)
    patch_length: int = Field(16, ge=1, le=10_000)
    patch_stride: int = Field(8, ge=1, le=10_000)
    hidden_dim: int = Field(16, ge=1, le=16_384)
    ffn_dim: int = Field(128, ge=1, le=65_536)
    num_layers: int = Field(3, ge=1, le=256)
    dropout: float = Field(0.3, ge=0, lt=1)
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    head_dropout: float = Field(0.0, ge=0, lt=1)
    loss: Literal["mse", "nll"] = "mse"
    batch_size: int = Field(64, ge=1, le=4096)
    learning_rate: float = Field(3e-4, gt=0, le=10)
    learning_rate_schedule: Literal["constant", "cosine"] = "cosine"
    early_stopping: int | None = Field(3, ge=1, le=100_000)

    @model_validator(mode="after")
    def _lengths_fit(self) -> Self:
        if self.context_length <= self.patch_length:
            raise ValueError("context_length must be longer than patch_length")
        if self.hidden_dim % self.num_attention_heads:
            raise ValueError("hidden_dim must be a multiple of num_attention_heads")
        if self.loss == "nll" and self.horizon < 2:
            raise ValueError("loss nll needs a horizon of at least 2")
        return self


SPEC = ModelSpec(
    model_id="patchtst",
    name="PatchTST",
    version="1",
    description="PatchTST: a transformer over patches of each channel",
    default_port=8015,
    model="forecast.models.patchtst.model:PatchTSTModel",
    weights=None,
    capabilities=Capabilities(  # lengths are those of the checkpoint
        zero_shot=False,
        trainable=True,
        fine_tunable=True,
        lora=True,
        multivariate=True,
        missing_values=True,
    ),
    license=License(
        "Apache-2.0", True, "https://github.com/huggingface/transformers/blob/main/LICENSE"
    ),
    extra="networks",
    config=PatchTSTConfig,
    training_backend=TrainingBackend.TRANSFORMERS,
    distributed=True,
    variants=("mse", "nll"),
)
