"""What the LSTM is, and what may be set when it is trained."""

from typing import Literal

from pydantic import Field

from forecast.models.base.config import CONTEXT_LIMIT, DirectConfig, TrainingBackend
from forecast.models.spec import Capabilities, License, ModelSpec


class LstmConfig(DirectConfig):
    """Set when it is trained.

    Attributes:
        segment_length: neighbouring steps that the network reads, and writes, at once; 1 is
            the plain LSTM.
        channel_mode: `joint` reads and forecasts all channels together; `independent` runs
            the same weights on each channel alone, told which one it is.
        known_ahead: covariates known for the future, beside those whose training series come
            with future values.
        loss_unit: `series` counts an error in standard deviations of the whole series;
            `context` in those of the context, for a series that grows to a multiple.
        num_attention_heads: accepted, as every network is set alike; an LSTM has none.
    """

    context_length: int = Field(96, ge=1, le=CONTEXT_LIMIT)
    segment_length: int = Field(8, ge=1, le=1024)
    hidden_dim: int = Field(64, ge=1, le=4096)
    num_layers: int = Field(1, ge=1, le=16)
    learning_rate_schedule: Literal["constant", "cosine"] = "cosine"
    early_stopping: int | None = Field(5, ge=1, le=100_000)
    channel_mode: Literal["joint", "independent"] = "joint"
    known_ahead: tuple[str, ...] = ()
    loss_unit: Literal["series", "context"] = "series"


SPEC = ModelSpec(
    model_id="lstm",
    name="LSTM",
    version="1.0",
    description="A small LSTM of our own that is trained on your series, with quantiles",
    default_port=8014,
    model="forecast.models.lstm.model:LstmModel",
    weights=None,
    capabilities=Capabilities(
        zero_shot=False,
        trainable=True,
        fine_tunable=True,
        multivariate=True,
        past_covariates=True,
        future_covariates=True,
        missing_values=True,
        max_context=CONTEXT_LIMIT,
    ),
    license=License("Apache-2.0", True, "https://www.apache.org/licenses/LICENSE-2.0"),
    extra="networks",
    config=LstmConfig,
    training_backend=TrainingBackend.PYTORCH,
    distributed=True,
)
