"""What Time-LLM is (Jin et al. 2024, arXiv:2310.01728), and what may be set in training."""

from typing import Literal, Self

from pydantic import Field, model_validator

from forecast.models.base.config import CONTEXT_LIMIT, DirectConfig, TrainingBackend
from forecast.models.spec import Capabilities, License, ModelSpec


class TimeLlmConfig(DirectConfig):
    """Set when it is trained; all but the device and the batch size shape the network.

    Attributes:
        num_layers: the first so many layers of the language model are used.
        hidden_dim: size of an embedded patch.
        head_dim: size of the keys of each attention head, and how many of the language
            model's outputs are read a patch.
        patch_length: neighbouring steps that are read together.
        patch_stride: steps between the starts of neighbouring patches.
        num_prototypes: mixtures of word embeddings that patches are expressed in.
        num_lags: strongest lags that the prompt names.
        domain: what the data are, in your words, told to the language model in the prompt.
    """

    context_length: int = Field(96, ge=2, le=CONTEXT_LIMIT)
    horizon: int = Field(24, ge=1, le=10_000)
    num_layers: int = Field(6, ge=1, le=256)
    hidden_dim: int = Field(32, ge=1, le=4096)
    num_attention_heads: int = Field(8, ge=1, le=256)
    head_dim: int = Field(128, ge=1, le=16_384)
    patch_length: int = Field(16, ge=1, le=1024)
    patch_stride: int = Field(8, ge=1, le=1024)
    num_prototypes: int = Field(1024, ge=1, le=65_536)
    num_lags: int = Field(5, ge=1, le=100)
    domain: str = Field("", max_length=2000)
    learning_rate: float = Field(1e-3, gt=0, le=10)
    learning_rate_schedule: Literal["constant", "cosine"] = "cosine"
    early_stopping: int | None = Field(3, ge=1, le=100_000)
    lora: None = None  # the language model stays as it is, and what is beside it is trained whole
    distributed: None = None

    @model_validator(mode="after")
    def _holds_a_patch_and_the_lags(self) -> Self:
        if self.patch_length > self.context_length:
            raise ValueError("patch_length must not be longer than context_length")
        if self.num_lags > self.context_length:
            raise ValueError("num_lags must not be more than context_length")
        return self


SPEC = ModelSpec(
    model_id="timellm",
    name="Time-LLM",
    version="3.3.0",
    description="A frozen language model, reprogrammed on your series to forecast them",
    default_port=8011,
    model="forecast.models.timellm.model:TimeLlmModel",
    weights=None,
    capabilities=Capabilities(
        zero_shot=False,
        trainable=True,
        fine_tunable=True,
        multivariate=True,
        missing_values=True,
        min_context=2,
        max_context=CONTEXT_LIMIT,
    ),
    license=License(
        "Apache-2.0", True, "https://github.com/Nixtla/neuralforecast/blob/main/LICENSE"
    ),
    extra="neuralforecast",
    config=TimeLlmConfig,
    training_backend=TrainingBackend.PYTORCH,
)
