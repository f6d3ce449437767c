"""What timegpt is, and what may be set when it is loaded."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, SecretStr
from pydantic.json_schema import SkipJsonSchema

from forecast.models.base.config import ModelConfig, TrainingMode
from forecast.models.spec import Capabilities, License, ModelSpec

BASE_URL = "https://api.nixtla.io"


class TimeGPTConfig(ModelConfig):
    """Set when it is loaded.

    Attributes:
        remote_model: which of its makers' models answers.
        finetuned_model_id: of a model that was fine-tuned there before, to forecast with or to
            tune on.
        clean_ex_first: let the service clean anomalies with covariates before it forecasts.
        finetune_steps: steps that `fit` takes, over there.
        finetune_depth: 1 tunes little, 5 all of the model.
        max_attempts: times that a call is tried, where the service is busy or away.
        request_timeout_s: how long one attempt may take.
        api_key: of the service; the operator's, never saved or shown.
        base_url: of the service; the operator's, for the key is sent there.
    """

    operator_fields: ClassVar[frozenset[str]] = frozenset({"api_key", "base_url"})

    remote_model: str = Field("timegpt-2.1", min_length=1, max_length=100)
    finetuned_model_id: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]{1,36}$")
    clean_ex_first: bool = True
    training_mode: Literal[TrainingMode.FINE_TUNE] = TrainingMode.FINE_TUNE
    finetune_steps: int = Field(10, ge=1, le=500)
    finetune_depth: Literal[1, 2, 3, 4, 5] = 1
    finetune_loss: Literal["default", "mae", "mse", "rmse", "mape", "smape"] = "default"
    max_attempts: int = Field(2, ge=1, le=5)
    request_timeout_s: int = Field(30, ge=1, le=600)
    api_key: SkipJsonSchema[Annotated[SecretStr | None, Field(exclude=True, repr=False)]] = None
    base_url: SkipJsonSchema[Annotated[str, Field(exclude=True, repr=False)]] = BASE_URL


SPEC = ModelSpec(
    model_id="timegpt",
    name="TimeGPT",
    version="2.1",
    description="TimeGPT of Nixtla, run by its makers: series are sent to them",
    default_port=8012,
    model="forecast.models.timegpt.model:TimeGPTModel",
    weights=None,
    capabilities=Capabilities(
        fine_tunable=True,
        past_covariates=True,
        future_covariates=True,
        categorical_covariates=True,
        missing_values=True,
        max_horizon=10_000,
    ),
    license=License("LicenseRef-Nixtla-Terms", True, "https://www.nixtla.io"),
    extra="timegpt",
    config=TimeGPTConfig,
    max_replicas=1,
)
