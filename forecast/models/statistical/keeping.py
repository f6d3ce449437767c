"""Models that statsforecast has fitted, as JSON and back; the library itself only pickles."""

from typing import Any

import numpy as np
import pandas as pd

from forecast.models.base.kept_fits import Document


def document_of(method: Any) -> Document:
    """Write down what a fitted model of the library knows."""
    trend = getattr(method, "trend_forecaster", None)  # of MSTL, a fitted model within
    return {
        "model": _encoded(method.model_),
        "trend": None if trend is None else _encoded(trend.model_),
    }


def restore(method: Any, document: Document) -> None:
    """Give a new model of the same kind what the fitted one knew."""
    method.model_ = _decoded(document["model"])
    if document["trend"] is not None:
        method.trend_forecaster.model_ = _decoded(document["trend"])


def _encoded(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"array": value.ravel().tolist(), "dtype": str(value.dtype), "shape": value.shape}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, pd.DataFrame):
        return {"columns": {name: _encoded(value[name].to_numpy()) for name in value}}
    if isinstance(value, dict):
        return {"fields": {name: _encoded(one) for name, one in value.items()}}
    if isinstance(value, tuple | list):
        return [_encoded(one) for one in value]
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decoded(one) for one in value)
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return np.array(value["array"], dtype=value["dtype"]).reshape(value["shape"])
    if "columns" in value:
        return pd.DataFrame({name: _decoded(one) for name, one in value["columns"].items()})
    return {name: _decoded(one) for name, one in value["fields"].items()}
