"""What timesfm20 is."""

from forecast.models.spec import Capabilities, License, ModelSpec

SPEC = ModelSpec(
    model_id="timesfm20",
    name="TimesFM 2.0",
    version="2.0.500m",
    description="TimesFM 2.0 of Google, 500M parameters",
    default_port=8001,
    model="forecast.models.timesfm20.model:TimesFM20Model",
    weights="hf:google/timesfm-2.0-500m-pytorch@main",
    capabilities=Capabilities(),
    license=License(
        "Apache-2.0", True, "https://github.com/google-research/timesfm/blob/master/LICENSE"
    ),
    extra="timesfm",
)
