"""What a caller may set: of a model when it is loaded, and of a model in each request."""

from pydantic import BaseModel, ConfigDict, Field


class ModelConfig(BaseModel):
    """Set when a model is loaded and saved with its weights. Families add fields of their own.

    Attributes:
        device: `auto`, `cpu`, `cuda` or `mps`; what is not there is an error, never a
            silent run on the CPU.
        context_length: the most past steps used; None for all the model can use.
        horizon: the horizon of a request that names none.
        batch_size: the most series of one call of the model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda|mps)(:\d+)?$")
    context_length: int | None = Field(None, ge=1, le=1_000_000)
    horizon: int | None = Field(None, ge=1, le=100_000)
    batch_size: int = Field(32, ge=1, le=4096)


class ModelOptions(BaseModel):
    """`model_options` of a request. Hashable; families add fields of their own.

    Attributes:
        ignore_covariates: drop the covariates that the model cannot use, rather than
            refuse the request.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ignore_covariates: bool = Field(
        False, description="Drop covariates the model cannot use instead of refusing the request."
    )
