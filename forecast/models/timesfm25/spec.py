"""What timesfm25 is."""

from forecast.models.spec import Capabilities, License, ModelSpec

SPEC = ModelSpec(
    model_id="timesfm25",
    name="TimesFM 2.5",
    version="2.5.200m",
    description="TimesFM 2.5 of Google, 200M parameters",
    default_port=8005,
    model="forecast.models.timesfm25.model:TimesFM25Model",
    weights="hf:google/timesfm-2.5-200m-pytorch@main",
    capabilities=Capabilities(),
    license=License(
        "Apache-2.0", True, "https://github.com/google-research/timesfm/blob/master/LICENSE"
    ),
    extra="timesfm",
)
