"""The models this gateway serves. To add one, see docs/adding-a-model.md."""

from typing import Any

from forecast.models.spec import ModelSpec, load_specs

MODEL_REGISTRY: dict[str, ModelSpec] = load_specs(
    __name__,
    "statistical",
    "sprout",
    "prophet",
    "chronos",
    "timesfm20",
    "timesfm25",
    "ttm",
    "tide",
    "timellm",
    "patchtst",
    "tsmixer",
    "ts2vec",
    "lstm",
    "moirai",
    "moment",
    "timegpt",
)


def get_available_models() -> list[str]:
    """List the ids of the models that are active."""
    return [model_id for model_id, spec in MODEL_REGISTRY.items() if spec.status == "active"]


def get_model_info(model_id: str) -> dict[str, Any]:
    """Show one entry of the registry.

    Raises:
        KeyError: no model has this id.
    """
    return MODEL_REGISTRY[model_id].info


def get_all_models_info() -> dict[str, dict[str, Any]]:
    """Show every entry of the registry."""
    return {model_id: spec.info for model_id, spec in MODEL_REGISTRY.items()}
