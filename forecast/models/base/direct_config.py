"""What may be set of a network that answers its whole horizon at once."""

from typing import Self

from pydantic import Field, model_validator

from forecast.models.base.config import NetworkConfig

LEVELS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
CONTEXT_LIMIT = 16_384


class DirectConfig(NetworkConfig):
    """Set when it is trained; all but the device and the batch size shape the network.

    Attributes:
        context_length: past steps that a forecast reads; a shorter past is padded.
        horizon: steps forecast at once, and the most that can be asked.
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
