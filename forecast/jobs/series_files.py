"""Series in a file, for another process: JSON, in which nothing can hide."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from forecast.core.frequency import Frequency
from forecast.core.types import CovariateArray, Series


def write_series(path: Path, series: Sequence[Series]) -> None:
    """Write series, exactly; a missing value is null."""
    path.write_bytes(orjson.dumps([_document(one) for one in series]))


def read_series(path: Path) -> list[Series]:
    """Read what `write_series` wrote."""
    return [_series(document) for document in orjson.loads(path.read_bytes())]


def _document(series: Series) -> dict[str, Any]:
    return {
        "item_id": series.item_id,
        "channels": series.channels,
        "start": None if series.start is None else str(series.start),
        "freq": series.freq.alias if series.freq else None,
        "clock": series.clock,
        "label": series.label,
        "target": _numbers(series.target),
        "past": {name: _listed(values) for name, values in series.past_covariates.items()},
        "future": {name: _listed(values) for name, values in series.future_covariates.items()},
        "static": dict(series.static_covariates),
    }


def _series(document: dict[str, Any]) -> Series:
    start, freq = document["start"], document["freq"]
    return Series(
        target=np.array(document["target"], dtype=float),
        item_id=document["item_id"],
        channels=tuple(document["channels"]),
        start=None if start is None else np.datetime64(start, "s"),
        freq=Frequency.parse(freq) if freq else None,
        clock=document["clock"],
        label=document["label"],
        past_covariates={name: _array(listed) for name, listed in document["past"].items()},
        future_covariates={name: _array(listed) for name, listed in document["future"].items()},
        static_covariates=document["static"],
    )


def _numbers(values: CovariateArray) -> list[Any]:
    listed: list[Any] = values.tolist()  # orjson writes NaN as null
    return listed


def _listed(values: CovariateArray) -> dict[str, Any]:
    kind = "text" if values.dtype.kind in "UO" else "number"
    return {kind: values.tolist()}


def _array(listed: dict[str, Any]) -> CovariateArray:
    if "text" in listed:
        return np.array(listed["text"], dtype=str)
    return np.array(listed["number"], dtype=float)
