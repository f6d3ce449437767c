"""What the statistical models are, and what a request may ask of them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from forecast.models.base.config import ModelConfig, ModelOptions
from forecast.models.spec import Capabilities, License, ModelSpec

MethodName = Literal[
    "auto",
    "auto_ets",
    "auto_arima",
    "auto_theta",
    "auto_ces",
    "mstl",
    "seasonal_naive",
    "naive",
]
Season = Annotated[int, Field(ge=1, le=10_000)]


class StatisticalOptions(ModelOptions):
    """Which method, and which seasons."""

    model: MethodName = Field("auto", description="The method; auto combines several.")
    season_length: Season | None = Field(
        None, description="Steps in a season; 1 for none. By default from the frequency."
    )
    season_lengths: Annotated[tuple[Season, ...], Field(min_length=1, max_length=5)] | None = Field(
        None, description="Several seasons, for auto and mstl, such as [24, 168]."
    )

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        if self.season_lengths is None:
            return self
        if self.season_length is not None:
            raise ValueError("send season_length or season_lengths, not both")
        if self.model not in {"auto", "mstl"}:
            raise ValueError(f"season_lengths is for auto and mstl; {self.model} takes one season")
        return self


class StatisticalConfig(ModelConfig):
    """What a model is loaded with.

    Attributes:
        options: what `fit` fits, and what a request that sets no option of its own gets.
    """

    options: StatisticalOptions = StatisticalOptions()


SPEC = ModelSpec(
    model_id="statistical",
    name="Statistical models",
    version="2.1.1",
    description="AutoETS, AutoARIMA, AutoTheta, AutoCES, MSTL, naive models and a combination"
    " of them, fitted to each series within the request",
    default_port=8004,
    model="forecast.models.statistical.model:StatisticalModel",
    weights=None,
    capabilities=Capabilities(
        trainable=True, future_covariates=True, quantiles="calibrated", max_context=10_000
    ),
    license=License(
        "Apache-2.0", True, "https://github.com/Nixtla/statsforecast/blob/main/LICENSE"
    ),
    config=StatisticalConfig,
    options=StatisticalOptions,
    max_replicas=1,
)
