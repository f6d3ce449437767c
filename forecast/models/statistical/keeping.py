"""What the library has fitted, as JSON and back; the library itself only pickles."""

from typing import Any

import numpy as np
import pandas as pd

from forecast.core.types import FloatArray
from forecast.models.base.local_model import Document
from forecast.models.base.past_errors import PastErrors
from forecast.models.statistical.combination import Combination
from forecast.models.statistical.foundation import FOUNDATION, Foundation
from forecast.models.statistical.methods import METHODS, Fitted, Member


def document_of(combination: Combination) -> Document:
    """Write down fitted methods, their weights and their errors."""
    past = combination.past
    return {
        "members": [
            {
                "name": member.name,
                "season": member.season,
                "model": _encoded(member.state),
                "adjusted": list(getattr(member, "adjusted", ())),
                "profiles": [_encoded(each) for each in getattr(member, "profiles", ())],
            }
            for member in combination.members
        ],
        "weights": list(combination.weights),
        "errors": _encoded(past.errors),
        "steps": _encoded(past.steps),
        "sizes": _encoded(np.broadcast_to(past.sizes, past.errors.shape)),
        "profile": _encoded(past.profile),
        "independent": past.independent,
        "origins": past.origins,
        "borrowed": past.borrowed,
        "gap": past.gap,
        "explained": 0.0 if combination.effect is None else combination.share,
    }


def restored(document: Document, effect: FloatArray | None = None) -> Combination:
    """Make the same methods again, with what they knew.

    Args:
        effect: of covariates, on the steps ahead; used if it was when they were fitted.
    """
    members = tuple(_member(one) for one in document["members"])
    share = float(document["explained"])  # true, of fits kept by older versions, is all of it
    ahead = effect if share else None
    return Combination(members, tuple(document["weights"]), errors_of(document), ahead, share)


def restore(model: Any, document: Document) -> Any:
    """Give a new model of the library what the only fitted one knew."""
    model.model_ = _decoded(document["members"][0]["model"])
    return model


def errors_of(document: Document) -> PastErrors:
    errors, steps = _decoded(document["errors"]), _decoded(document["steps"])
    return PastErrors(
        errors,
        steps,
        document["independent"],
        gap=document["gap"],
        origins=document.get("origins", 0),  # older versions kept none of these
        borrowed=document.get("borrowed", 0.0),
        sizes=_decoded(document.get("sizes", 1.0)),
        profile=np.atleast_1d(_decoded(document.get("profile", 1.0))),
    )


def _member(document: Document) -> Member:
    name, season = document["name"], document["season"]
    if name == FOUNDATION:
        return Foundation.restored(_decoded(document["model"]))
    model = METHODS[name].make(season)
    model.model_ = _decoded(document["model"])
    profiles = tuple(_decoded(each) for each in document["profiles"])
    return Fitted(name, season, model, 0, tuple(document["adjusted"]), profiles)


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
