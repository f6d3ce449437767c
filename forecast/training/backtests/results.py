"""How good the forecasts of a backtest were, beside the baselines: JSON and Parquet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from forecast.core.atomic import replacing
from forecast.core.metrics import Errors
from forecast.core.types import Forecast, ForecastTask
from forecast.jobs.folders import RESULT
from forecast.training.backtests.baselines import BASELINES
from forecast.training.backtests.windows import Part, Window

TABLE = "result.parquet"
FORMAT_VERSION = 2
MOST_VALUES = 50_000_000  # of all forecasts together

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One series in one window: what was forecast, and what each baseline said."""

    window: Window
    part: Part
    forecast: Forecast
    baselines: Mapping[str, Forecast]


@dataclass(frozen=True, slots=True)
class Used:
    """The model of a window.

    Attributes:
        version: of the store, or None for weights from elsewhere.
        source: of the weights, or None where there are none.
        cutoff: of what it was trained on (ISO 8601); None where not known.
        fitted: it was fitted for this backtest.
    """

    version: str | None = None
    source: str | None = None
    cutoff: str | None = None
    sha256: str | None = None
    fitted: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What the result says of the backtest itself."""

    job_id: str
    model_id: str
    refit: str
    step: int
    task: ForecastTask
    data_reference: str | None = None
    warnings: tuple[str, ...] = field(default=())


def pair_of(window: Window, part: Part, forecast: Forecast, task: ForecastTask) -> Pair:
    """Put the baselines of the same past beside a forecast."""
    baselines = {name: baseline(part.past, task) for name, baseline in BASELINES.items()}
    return Pair(window, part, forecast, baselines)


class Measured:
    """The errors of a model and of each baseline, of which any pairs or steps are measured."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        held_out = [(pair.part.past, pair.part.actual) for pair in pairs]
        model = Errors.of(held_out, [pair.forecast for pair in pairs])
        self._model = model
        self._baselines = {
            name: model.of_others([pair.baselines[name] for pair in pairs]) for name in BASELINES
        }
        rows = np.cumsum([0, *(len(actual) for _, actual in held_out)])
        self._rows = [np.arange(*bounds) for bounds in pairwise(rows)]
        self.horizon = model.actual.shape[1]

    def overall(self) -> dict[str, Any]:
        """Measure all pairs, and name the baseline that did best."""
        return self._measure(lambda errors: errors)

    def of_pairs(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Measure some pairs, by their numbers."""
        rows = np.concatenate([self._rows[number] for number in numbers])
        return self._measure(lambda errors: errors.take(rows))

    def at_step(self, step: int) -> dict[str, Any]:
        """Measure one step of the horizon, counted from 0."""
        return self._measure(lambda errors: errors.at_step(step))

    def _measure(self, part: Callable[[Errors], Errors]) -> dict[str, Any]:
        baselines = {name: part(errors).measure() for name, errors in self._baselines.items()}
        return {
            "metrics": part(self._model).measure(),
            "baselines": baselines,
            "best_baseline": _best(baselines),
        }


def headline(found: Metrics, baselines: Mapping[str, Metrics]) -> str:
    """Name the metric that models are compared by: MASE, or MAE where that has no meaning."""
    return "mase" if all("mase" in one for one in (found, *baselines.values())) else "mae"


def _best(baselines: Mapping[str, Metrics]) -> str:
    metric = headline({"mase": 0.0}, baselines)
    return min(baselines, key=lambda name: baselines[name].get(metric, np.inf))


def document(facts: Facts, pairs: Sequence[Pair], used: dict[int, Used]) -> dict[str, Any]:
    """Make the whole result: overall, per window, per step of the horizon and per item.

    Args:
        used: number of the window → its model.
    """
    windows = {pair.window.number: pair.window for pair in pairs}
    measured = Measured(pairs)
    return {
        "format_version": FORMAT_VERSION,
        "job_id": facts.job_id,
        "model_id": facts.model_id,
        "data_reference": facts.data_reference,
        "horizon": facts.task.horizon,
        "windows": len(windows),
        "step": facts.step,
        "refit": facts.refit,
        "quantile_levels": facts.task.quantile_levels,
        **measured.overall(),
        "per_window": [
            _of_window(windows[number], used[number], measured.of_pairs(group), len(group))
            for number, group in _grouped(pairs, lambda pair: pair.window.number)
        ],
        "per_step": [
            {"step": step + 1, **measured.at_step(step)} for step in range(measured.horizon)
        ],
        "per_item": [
            {"item_id": item_id, "windows": len(group), **measured.of_pairs(group)}
            for item_id, group in _grouped(pairs, lambda pair: pair.part.past.item_id)
        ],
        "warnings": list(facts.warnings),
    }


def write(folder: Path, result: dict[str, Any], pairs: Sequence[Pair]) -> None:
    """Write the table, and then the JSON: who sees the second finds the first."""
    with replacing(folder / TABLE) as draft:
        _write_table(draft, pairs)
    with replacing(folder / RESULT) as draft:
        draft.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")


def _of_window(window: Window, used: Used, measured: dict[str, Any], items: int) -> dict[str, Any]:
    return {
        "window": window.number,
        "origin": _text(window.origin),
        "first_forecast": _text(window.first),
        "items": items,
        "version": used.version,
        "source": used.source,
        "cutoff": used.cutoff,
        "sha256": used.sha256,
        "fitted": used.fitted,
        **measured,
    }


def _text(moment: np.datetime64 | None) -> str | None:
    return None if moment is None else str(moment.astype("datetime64[s]"))


def _grouped(pairs: Sequence[Pair], key: Callable[[Pair], Any]) -> list[tuple[Any, list[int]]]:
    """Group the numbers of pairs by a key."""
    groups: dict[Any, list[int]] = {}
    for number, pair in enumerate(pairs):
        groups.setdefault(key(pair), []).append(number)
    return list(groups.items())


# The table


def _write_table(path: Path, pairs: Sequence[Pair]) -> None:
    levels = pairs[0].forecast.quantile_levels
    schema = _schema(levels)
    with pq.ParquetWriter(path, schema) as writer:
        for _, group in _grouped(pairs, lambda pair: pair.window.number):
            tables = [
                _table(pairs[number], channel, schema)
                for number in group
                for channel in range(len(pairs[number].part.actual))
            ]
            writer.write_table(pa.concat_tables(tables))


def _schema(levels: tuple[float, ...]) -> pa.Schema:
    texts = [("item_id", pa.string()), ("channel", pa.string())]
    whole = [("window", pa.int32()), ("step", pa.int32())]
    times = [("origin", pa.timestamp("s")), ("timestamp", pa.timestamp("s"))]
    numbers = ["actual", "mean", *BASELINES, *map(repr, levels)]
    return pa.schema([*texts, *whole, *times, *((name, pa.float64()) for name in numbers)])


def _table(pair: Pair, channel: int, schema: pa.Schema) -> pa.Table:
    part, past = pair.part, pair.part.past
    horizon = part.actual.shape[1]
    name = past.channels[channel] if past.channels else None
    columns: list[Any] = [
        [past.item_id] * horizon,
        [name] * horizon,
        [pair.window.number] * horizon,
        range(1, horizon + 1),
        pa.array([_time(pair.window.origin)] * horizon, pa.timestamp("s")),
        pa.array(_times(part), pa.timestamp("s")),
        pa.array(part.actual[channel], from_pandas=True),  # what is missing is null
        pair.forecast.mean[channel],
        *(pair.baselines[name].mean[channel] for name in BASELINES),
        *pair.forecast.quantiles[channel],
    ]
    return pa.table(columns, schema=schema)


def _times(part: Part) -> list[Any]:
    if part.timestamps is None:
        return [None] * part.actual.shape[1]
    return [_time(moment) for moment in part.timestamps]


def _time(moment: np.datetime64 | None) -> Any:
    return None if moment is None else moment.astype("datetime64[s]").item()
