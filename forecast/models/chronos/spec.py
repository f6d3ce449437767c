"""What chronos is."""

from forecast.models.spec import Capabilities, License, ModelSpec

SPEC = ModelSpec(
    model_id="chronos",
    name="Chronos",
    version="2.3.2",
    description="Amazon Chronos-T5, Chronos-Bolt and Chronos-2",
    default_port=8002,
    model="forecast.models.chronos.model:ChronosModel",
    weights="hf:amazon/chronos-bolt-small@main",
    capabilities=Capabilities(missing_values=True),
    license=License(
        "Apache-2.0",
        True,
        "https://github.com/amazon-science/chronos-forecasting/blob/main/LICENSE",
    ),
    extra="chronos",
)
