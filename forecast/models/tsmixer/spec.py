"""What TSMixer is (Chen, Li, Yoder, Arik & Pfister 2023, arXiv:2303.06053)."""

from typing import Literal

from pydantic import Field

from forecast.models.base.config import NetworkConfig, TrainingBackend
from forecast.models.spec import Capabilities, License, ModelSpec


class TSMixerConfig(NetworkConfig):
    """Set for a network that is trained; one that is fine-tuned keeps its own sizes.

    Attributes:
        context_length: steps the network reads.
        horizon: steps it forecasts at once, and the horizon of a request that names none.
        hidden_dim: width of the layers that mix the channels.
        num_layers: blocks, each of which mixes the steps and then the channels.
        num_attention_heads: not used, there is no attention.
    """

    context_length: int = Field(512, ge=2, le=100_000)
    horizon: int = Field(96, ge=1, le=10_000)
    hidden_dim: int = Field(64, ge=1, le=16_384)
    num_layers: int = Field(2, ge=1, le=256)
    dropout: float = Field(0.9, ge=0, lt=1)
    batch_size: int = Field(64, ge=1, le=4096)
    learning_rate: float = Field(1e-3, gt=0, le=10)
    learning_rate_schedule: Literal["constant", "cosine"] = "cosine"
    max_epochs: int | None = Field(30, ge=1, le=100_000)
    early_stopping: int | None = Field(5, ge=1, le=100_000)


SPEC = ModelSpec(
    model_id="tsmixer",
    name="TSMixer",
    version="1",
    description="TSMixer: linear layers over time and over channels in turn",
    default_port=8008,
    model="forecast.models.tsmixer.model:TSMixerModel",
    weights=None,
    capabilities=Capabilities(  # lengths and channels are those it was trained on
        zero_shot=False,
        trainable=True,
        fine_tunable=True,
        lora=True,
        multivariate=True,
        missing_values=True,
        quantiles="calibrated",
    ),
    license=License("Apache-2.0", True, "https://www.apache.org/licenses/LICENSE-2.0"),
    extra="networks",
    config=TSMixerConfig,
    training_backend=TrainingBackend.PYTORCH,
    distributed=True,
)
