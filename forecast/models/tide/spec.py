"""What TiDE is (Das et al. 2023, arXiv:2304.08424), and what may be set when it is trained."""

from typing import Literal

from pydantic import Field

from forecast.models.base.config import CONTEXT_LIMIT, DirectConfig, TrainingBackend
from forecast.models.spec import Capabilities, License, ModelSpec


class TideConfig(DirectConfig):
    """Set when it is trained; all but the device and the batch size shape the network.

    Attributes:
        hidden_dim: size of the hidden layer of each block.
        num_layers: blocks of the encoder, and again of the decoder.
        decoder_dim: numbers a step that the decoder hands on.
        temporal_decoder_dim: hidden layer of the block that each step passes alone.
        temporal_width: numbers a step that all covariates of a kind are projected to.
        known_ahead: covariates known for the future, beside those whose training series come
            with future values.
        num_attention_heads: accepted, as every network is set alike; dense layers have none.
    """

    context_length: int = Field(512, ge=2, le=CONTEXT_LIMIT)
    horizon: int = Field(96, ge=1, le=10_000)
    hidden_dim: int = Field(64, ge=1, le=16_384)
    num_layers: int = Field(1, ge=1, le=64)
    decoder_dim: int = Field(8, ge=1, le=1024)
    temporal_decoder_dim: int = Field(64, ge=1, le=4096)
    temporal_width: int = Field(4, ge=1, le=1024)
    layer_norm: bool = True
    dropout: float = Field(0.5, ge=0, lt=1)
    batch_size: int = Field(128, ge=1, le=4096)
    learning_rate: float = Field(1e-3, gt=0, le=10)
    learning_rate_schedule: Literal["constant", "cosine"] = "cosine"
    max_epochs: int | None = Field(20, ge=1, le=100_000)
    early_stopping: int | None = Field(5, ge=1, le=100_000)
    known_ahead: tuple[str, ...] = ()


SPEC = ModelSpec(
    model_id="tide",
    name="TiDE",
    version="1.0",
    description="Time-series Dense Encoder: trained on your series, with covariates of all kinds",
    default_port=8010,
    model="forecast.models.tide.model:TideModel",
    weights=None,
    capabilities=Capabilities(
        zero_shot=False,
        trainable=True,
        fine_tunable=True,
        lora=True,
        multivariate=True,
        past_covariates=True,
        future_covariates=True,
        static_covariates=True,
        missing_values=True,
        min_context=2,
        max_context=CONTEXT_LIMIT,
    ),
    license=License("Apache-2.0", True, "https://www.apache.org/licenses/LICENSE-2.0"),
    extra="networks",
    config=TideConfig,
    training_backend=TrainingBackend.PYTORCH,
    distributed=True,
)
