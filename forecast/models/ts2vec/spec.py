"""What TS2Vec is, and what may be set when it is trained."""

from typing import Literal

from pydantic import Field

from forecast.models.base.config import ModelOptions, NetworkConfig, TrainingBackend
from forecast.models.spec import Capabilities, License, ModelSpec

CONTEXT_LIMIT = 4096


class Ts2VecConfig(NetworkConfig):
    """Set when it is trained; the defaults are the paper's, but for the instances.

    Attributes:
        context_length: past steps that are encoded; training windows are as long.
        horizon: steps forecast at once, and the most that can be asked.
        hidden_dim: width of the residual blocks.
        num_layers: residual blocks before the last; block i looks 2^i steps around.
        representation_dim: width of the last block, and so of the representation.
        dropout: of the representation, in training.
        normalize_instances: encode each window relative to its own level and spread. The
            paper does not, and loses by it where the level of a series drifts.
        channel_mode: `joint` encodes all channels together; `independent` runs the same
            encoder and the same head on each channel alone.
        num_attention_heads: accepted, as every network is set alike; there are none here.
    """

    context_length: int = Field(200, ge=2, le=CONTEXT_LIMIT)
    horizon: int = Field(24, ge=1, le=10_000)
    batch_size: int = Field(16, ge=1, le=4096)
    hidden_dim: int = Field(64, ge=1, le=4096)
    num_layers: int = Field(10, ge=1, le=16)
    representation_dim: int = Field(320, ge=1, le=4096)
    dropout: float = Field(0.1, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0, le=10)
    gradient_clip: float | None = Field(None, gt=0)
    max_epochs: int | None = Field(None, ge=1, le=100_000)
    max_steps: int | None = Field(200, ge=1, le=10_000_000)
    normalize_instances: bool = True
    channel_mode: Literal["joint", "independent"] = "joint"


SPEC = ModelSpec(
    model_id="ts2vec",
    name="TS2Vec",
    version="1.0",
    description="Representations learned by contrast (TS2Vec), with a ridge regression on them",
    default_port=8013,
    model="forecast.models.ts2vec.model:Ts2VecModel",
    weights=None,
    capabilities=Capabilities(
        zero_shot=False,
        trainable=True,
        fine_tunable=True,
        multivariate=True,
        past_covariates=True,
        missing_values=True,
        quantiles="calibrated",
        max_context=CONTEXT_LIMIT,
    ),
    license=License("Apache-2.0", True, "https://www.apache.org/licenses/LICENSE-2.0"),
    extra="networks",
    config=Ts2VecConfig,
    options=ModelOptions,
    training_backend=TrainingBackend.PYTORCH,
)
