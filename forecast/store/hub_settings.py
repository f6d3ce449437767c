"""How the model hub is reached; says so without importing its client."""

from pathlib import Path

from pydantic import Field, SecretStr

from forecast.core.fields import Seconds, SettingsGroup, variables


class HubSettings(SettingsGroup):
    """How the model hub is reached; its token is sent to its endpoint only."""

    hf_endpoint: str | None = Field(
        None,
        validation_alias=variables("FORECAST_HF_ENDPOINT", "HF_ENDPOINT"),
        description="Address of the model hub or a mirror.",
    )
    hf_token: SecretStr | None = Field(
        None,
        validation_alias=variables("FORECAST_HF_TOKEN", "HF_TOKEN"),
        description="Token of the model hub, for gated and private weights.",
    )
    hf_timeout_s: Seconds = Field(
        10.0, description="How long the hub may take to answer, a download aside."
    )
    hf_offline: bool = Field(
        False,
        validation_alias=variables("FORECAST_HF_OFFLINE", "HF_HUB_OFFLINE"),
        description="Never ask the hub; only what is in the cache.",
    )
    hf_cache: Path | None = Field(
        None,
        validation_alias=variables("FORECAST_HF_CACHE", "HF_HUB_CACHE"),
        description="Cache of the hub's client, to share one; a folder in `<home>` otherwise.",
    )

    @property
    def token(self) -> str | None:
        """The token itself, to be sent and never shown."""
        return self.hf_token.get_secret_value() if self.hf_token else None
