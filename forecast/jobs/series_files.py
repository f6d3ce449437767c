"""Series and forecasts in files for another process: JSON, and arrays without pickles."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from forecast.core.atomic import replacing
from forecast.core.frequency import Frequency
from forecast.core.types import CovariateArray, Forecast, Series


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


def forecasts_of(file: str) -> str:
    """Name the file of the forecasts of a file of series."""
    return str(Path(file).with_suffix(".npz"))


def write_forecasts(path: Path, forecasts: Sequence[Forecast]) -> None:
    """Write forecasts of one horizon and the same levels, exactly; the file appears whole."""
    levels = forecasts[0].quantile_levels
    with replacing(path) as draft, draft.open("wb") as file:
        np.savez(
            file,
            channels=np.array([len(one.mean) for one in forecasts]),
            mean=np.concatenate([one.mean for one in forecasts]),  # [ΣC, H]
            quantiles=np.concatenate([one.quantiles for one in forecasts]),  # [ΣC, Q, H]
            levels=np.array(levels, dtype=float),
            warnings=np.array(["\n".join(one.warnings) for one in forecasts], dtype=str),
        )


def read_forecasts(path: Path) -> list[Forecast]:
    """Read what `write_forecasts` wrote."""
    with np.load(path, allow_pickle=False) as kept:
        ends = np.cumsum(kept["channels"])[:-1]
        means = np.split(kept["mean"], ends)
        quantiles = np.split(kept["quantiles"], ends)
        levels = tuple(kept["levels"].tolist())
        warnings = [tuple(text.split("\n")) if text else () for text in kept["warnings"].tolist()]
    return [
        Forecast(mean, rows, levels, told)
        for mean, rows, told in zip(means, quantiles, warnings, strict=True)
    ]
