"""What `POST initialization` takes: which weights, and how to run them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from forecast.core.errors import InvalidRequest
from forecast.core.validation import read_json, validated, validated_options
from forecast.models.base.config import ModelConfig
from forecast.models.spec import ModelSpec

_DEVICES = {"auto": "auto", "cpu": "cpu", "gpu": "cuda", "mps": "mps"}


class InitializationRequest(BaseModel):
    """Name the weights by `source`, or by the older separate fields that say the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str | None = Field(
        None,
        max_length=1024,
        description="`hf:<repo>[@revision]`, `local:<path>`, `mlflow:<models:/… or runs:/…>`,"
        " `store:<version, alias or snapshot>` or `package:<model id>`; where absent"
        " `store:current` if there is one, or else the model's default weights.",
        examples=["hf:amazon/chronos-bolt-small", "store:current"],
    )
    backend: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    context_len: int | None = Field(None, ge=1, description="The most past steps to use.")
    horizon_len: int | None = Field(
        None, ge=1, description="The horizon of a request that names none."
    )
    checkpoint: str | None = Field(
        None, max_length=512, description="Older name: a hub repository."
    )
    revision: str | None = Field(None, max_length=256, description="Revision of `checkpoint`.")
    local_model_path: str | None = Field(None, max_length=1024, description="Older name: a path.")
    mlflow_model_name: str | None = Field(None, max_length=512)
    mlflow_model_alias: str | None = Field(None, max_length=256)
    version: str | None = Field(
        None,
        max_length=256,
        description="Version, alias or snapshot in the store; beside `mlflow_model_name` a version"
        " of that, in place of an alias.",
    )
    accept_license: bool = Field(
        False, description="Accept weights whose license forbids commercial use."
    )
    wait: bool = Field(True, description="Answer once the model is ready, not at once.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="The model's own loading options."
    )

    def named_source(self) -> str | None:
        """Read the source, in whichever way it was named; None where it was not.

        Raises:
            InvalidRequest: it is named in two ways at once, or only in part.
        """
        named = [source for source in (self.source, *self._older_sources()) if source]
        if len(named) > 1:
            raise InvalidRequest(f"the weights are named more than once: {', '.join(named)}")
        if self.revision and not self.checkpoint:
            raise InvalidRequest.field("/revision", "goes with checkpoint")
        if self.mlflow_model_alias and not self.mlflow_model_name:
            raise InvalidRequest.field("/mlflow_model_alias", "goes with mlflow_model_name")
        return named[0] if named else None

    def _older_sources(self) -> tuple[str | None, ...]:
        hub = f"hf:{self.checkpoint}" if self.checkpoint else None
        if hub and self.revision:
            hub = f"{hub}@{self.revision}"
        local = f"local:{self.local_model_path}" if self.local_model_path else None
        return hub, local, self._registered_source()

    def _registered_source(self) -> str | None:
        if not self.mlflow_model_name:
            return f"store:{self.version}" if self.version else None
        if self.mlflow_model_alias:
            return f"mlflow:models:/{self.mlflow_model_name}@{self.mlflow_model_alias}"
        if not self.version:
            raise InvalidRequest.field(
                "/mlflow_model_name", "needs mlflow_model_alias or version beside it"
            )
        return f"mlflow:models:/{self.mlflow_model_name}/{self.version}"

    def config_for(self, spec: ModelSpec) -> dict[str, Any]:
        """Collect what is set of the model's configuration, checked.

        Raises:
            InvalidRequest: an option the model does not have, or a bad value; names it.
        """
        settings: dict[str, Any] = {"device": _DEVICES[self.backend], **self.options}
        if self.context_len is not None:
            settings["context_length"] = self.context_len
        if self.horizon_len is not None:
            settings["horizon"] = self.horizon_len
        checked = checked_config(spec.config, settings, "/options")
        return {name: getattr(checked, name) for name in checked.model_fields_set}


def checked_config(
    config: type[ModelConfig], sent: dict[str, Any], pointer: str = ""
) -> ModelConfig:
    """Validate what a caller sets of a model's configuration.

    Raises:
        InvalidRequest: an option the model does not have, a bad value, or one that is the
            operator's to set; names it.
    """
    for name in sorted(config.operator_fields & sent.keys()):
        raise InvalidRequest.field(f"{pointer}/{name}", "only the operator of this gateway sets it")
    return validated_options(config, sent, pointer)


def read_initialization(body: bytes) -> InitializationRequest:
    """Parse the body of the request; an empty one asks for the defaults.

    Raises:
        BadData: it is not JSON.
        InvalidRequest: an unknown field or a bad value; names it.
    """
    return validated(InitializationRequest, read_json(body) if body.strip() else {})
