"""What prophet is."""

from forecast.models.spec import Capabilities, License, ModelSpec

SPEC = ModelSpec(
    model_id="prophet",
    name="Prophet",
    version="1.5.0",
    description="Additive trend, seasonality, holidays and regressors, fitted per series",
    default_port=8003,
    model="forecast.models.prophet.model:ProphetModel",
    weights=None,
    capabilities=Capabilities(future_covariates=True, missing_values=True, min_context=2),
    license=License("MIT", True, "https://github.com/facebook/prophet/blob/main/LICENSE"),
    extra="prophet",
    max_replicas=1,
)
