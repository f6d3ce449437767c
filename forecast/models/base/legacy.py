"""Names of earlier versions, which keep working and say what they are called now.

Nothing else in this package uses them; in a later version this file can go.
"""

import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any

_CLASSES = {
    "BaseTSFM": ("forecast.models.base.model", "BaseTimeSeriesModel"),
    "LoRAConfig": ("forecast.models.base.config", "LoraConfig"),
    "TrainingStrategy": ("forecast.models.base.config", "TrainingBackend"),
}
_FIELDS = {
    "d_model": "hidden_dim",
    "n_heads": "num_attention_heads",
    "n_layers": "num_layers",
    "fp16": "use_mixed_precision",
    "fit_strategy": "training_mode",
}
_CALLER = 6  # frames up from the warning: who makes the configuration


def __getattr__(name: str) -> Any:
    """Give a class by its older name."""
    if name not in _CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, new_name = _CLASSES[name]
    warnings.warn(
        f"{name} is called {new_name} now: from {module} import {new_name}",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(import_module(module), new_name)


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the values of a configuration under the names that its fields have now.

    `use_cpu` becomes `device`, and `training_strategy` is left out: how a family trains is
    in its spec and no longer a choice.

    Raises:
        ValueError: a field is given under both of its names.
    """
    now: dict[str, Any] = {}
    for name, value in values.items():
        new_name, new_value = _translated(name, value)
        if new_name in now or (new_name != name and new_name in values):
            raise ValueError(f"{new_name} is given twice, once as an older name of it")
        if new_name is not None:
            now[new_name] = new_value
    return now


def _translated(name: str, value: Any) -> tuple[str | None, Any]:
    if name in _FIELDS:
        _warn(f"{name} is called {_FIELDS[name]} now")
        return _FIELDS[name], value
    if name == "use_cpu":
        _warn('use_cpu is replaced by device, as in device="cpu"')
        return ("device", "cpu") if value else (None, None)
    if name == "training_strategy":
        _warn("training_strategy has no effect: a family's spec names its training_backend")
        return None, None
    return name, value


def _warn(message: str) -> None:
    warnings.warn(message, DeprecationWarning, stacklevel=_CALLER)
