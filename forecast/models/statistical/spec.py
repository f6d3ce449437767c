"""What statistical is."""

from forecast.models.spec import Capabilities, License, ModelSpec

SPEC = ModelSpec(
    model_id="statistical",
    name="Statistical models",
    version="2.1.1",
    description="AutoETS, AutoARIMA, AutoTheta, MSTL, naive models and the automatic choice",
    default_port=8004,
    model="forecast.models.statistical.model:StatisticalModel",
    weights=None,
    capabilities=Capabilities(),
    license=License(
        "Apache-2.0", True, "https://github.com/Nixtla/statsforecast/blob/main/LICENSE"
    ),
    extra="statistical",
    max_replicas=1,
)
