"""What Prophet is (Taylor & Letham 2018, *Forecasting at Scale*), and what may be asked of it."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from forecast.models.base.config import ModelConfig, ModelOptions
from forecast.models.spec import Capabilities, License, ModelSpec

Order = Annotated[int, Field(ge=1, le=100)]
BuiltIn = Literal["auto"] | bool | Order
Scale = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Mode = Literal["additive", "multiplicative"]
Name = Annotated[str, Field(min_length=1, max_length=100)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name


class Seasonality(_Part):
    """One more season, as a Fourier series."""

    period: float = Field(gt=0, allow_inf_nan=False, description="In days; steps without time.")
    fourier_order: Order
    prior_scale: Scale | None = None
    mode: Mode | None = Field(None, description="By default seasonality_mode.")


class Holiday(_Part):
    """An event that returns, with what it does to the days around it."""

    dates: Annotated[tuple[date, ...], Field(min_length=1, max_length=10_000)]
    lower_window: int = Field(0, ge=-366, le=0, description="Days before, as a negative number.")
    upper_window: int = Field(0, ge=0, le=366, description="Days after.")


class ProphetOptions(ModelOptions):
    """Prophet's own settings; each means what it means there."""

    growth: Literal["linear", "logistic", "flat"] = "linear"
    cap: float | None = Field(
        None, allow_inf_nan=False, description="Where logistic growth ends; needed for it."
    )
    floor: float = Field(0.0, allow_inf_nan=False, description="Where logistic growth begins.")
    n_changepoints: int = Field(25, ge=0, le=1000)
    changepoint_range: float = Field(0.8, gt=0, le=1)
    changepoint_prior_scale: Scale = 0.05
    yearly_seasonality: BuiltIn = "auto"
    weekly_seasonality: BuiltIn = "auto"
    daily_seasonality: BuiltIn = "auto"
    seasonality_mode: Mode = "additive"
    seasonality_prior_scale: Scale = 10.0
    seasonalities: Annotated[tuple[Seasonality, ...], Field(max_length=20)] = ()
    country_holidays: str | None = Field(
        None, pattern=r"^[A-Za-z]{2,3}$", description="Code of a country, such as DE."
    )
    holidays: Annotated[tuple[Holiday, ...], Field(max_length=100)] = ()
    holidays_mode: Mode | None = Field(None, description="By default seasonality_mode.")
    holidays_prior_scale: Scale = 10.0
    regressor_mode: Mode | None = Field(None, description="By default seasonality_mode.")
    regressor_prior_scale: Scale | None = Field(
        None, description="Of covariates. By default holidays_prior_scale."
    )
    scaling: Literal["auto", "absmax", "minmax"] = Field(
        "auto", description="auto: minmax where values differ by less than 1 % of their size."
    )

    @model_validator(mode="after")
    def _logistic_growth_has_a_cap(self) -> Self:
        if self.growth != "logistic":
            if self.cap is not None:
                raise ValueError("cap is for growth: logistic")
        elif self.cap is None or self.cap <= self.floor:
            raise ValueError("growth: logistic needs a cap above the floor")
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        parts: tuple[_Part, ...] = (*self.seasonalities, *self.holidays)
        names = [part.name for part in parts]
        if len(set(names)) < len(names):
            raise ValueError("two seasonalities or holidays have the same name")
        return self

    @property
    def needs_time(self) -> tuple[str, ...]:
        """Names of the options set that mean something only where time is known."""
        named = ("yearly_seasonality", "weekly_seasonality", "daily_seasonality")
        asked = [name for name in named if getattr(self, name) not in ("auto", False)]
        asked += ["country_holidays"] if self.country_holidays else []
        return (*asked, "holidays") if self.holidays else tuple(asked)


class ProphetConfig(ModelConfig):
    """What a model is loaded with.

    Attributes:
        options: what `fit` fits, and what a request that sets no option of its own gets.
    """

    options: ProphetOptions = ProphetOptions()


SPEC = ModelSpec(
    model_id="prophet",
    name="Prophet",
    version="1.5.0",
    description="Additive trend, seasonality, holidays and regressors, fitted to each series"
    " within the request",
    default_port=8003,
    model="forecast.models.prophet.model:ProphetModel",
    weights=None,
    capabilities=Capabilities(
        trainable=True,
        future_covariates=True,
        missing_values=True,
        quantiles="calibrated",
        shift_equivariant=False,  # it divides by the largest absolute value
        min_context=2,
        max_context=20_000,
        max_horizon=5_000,
    ),
    license=License("MIT", True, "https://github.com/facebook/prophet/blob/main/LICENSE"),
    extra="prophet",
    library="prophet",
    config=ProphetConfig,
    options=ProphetOptions,
    max_replicas=1,
)
