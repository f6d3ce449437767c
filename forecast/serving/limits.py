"""What the operator allows of one process that serves models: how much waits, how much is held."""

from pydantic import Field

from forecast.core.fields import Seconds, SettingsGroup


class ServingLimits(SettingsGroup):
    """How much may wait for one model, how many of its versions are loaded, how it ends."""

    max_queue: int = Field(
        4096, ge=1, le=1_000_000, description="Series that may wait for one model; then 429."
    )
    shutdown_s: Seconds = Field(
        40.0, description="How long a shutdown lets requests finish before it ends them."
    )
    versions_loaded: int = Field(
        4,
        ge=1,
        le=1000,
        description="Versions a host holds for `as_of` and `version`, each process.",
    )
    versions_bytes: int = Field(
        4 * 1024**3,
        ge=0,
        le=2**50,
        description="The weights of those may have so many bytes together.",
    )
