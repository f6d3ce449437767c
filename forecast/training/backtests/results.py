"""How good the forecasts of a backtest were, beside the seasonal naive: JSON and Parquet."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from forecast.core import accuracy
from forecast.core.atomic import replacing
from forecast.core.types import FloatArray, Forecast, ForecastTask
from forecast.jobs.folders import RESULT
from forecast.models.base.metrics import measure
from forecast.training.backtests.naive import seasonal_naive
from forecast.training.backtests.windows import Part, Window

TABLE = "result.parquet"
FORMAT_VERSION = 1
MOST_VALUES = 50_000_000  # of all forecasts together

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One series in one window: what was forecast, what the naive said, and how both did."""

    window: Window
    part: Part
    forecast: Forecast
    naive: Forecast
    metrics: Metrics
    naive_metrics: Metrics


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
    """Measure a forecast, and the seasonal naive of the same past."""
    naive = seasonal_naive(part.past, task)
    held_out = [(part.past, part.actual)]
    return Pair(
        window, part, forecast, naive, measure(held_out, [forecast]), measure(held_out, [naive])
    )


def overall(pairs: Sequence[Pair]) -> dict[str, Metrics]:
    """Average the metrics of each series in each window, of the model and of the naive."""
    return {
        "metrics": _averaged([pair.metrics for pair in pairs]),
        "naive": _averaged([pair.naive_metrics for pair in pairs]),
    }


def document(facts: Facts, pairs: Sequence[Pair], used: dict[int, Used]) -> dict[str, Any]:
    """Make the whole result: overall, per window, per step of the horizon and per item.

    Args:
        used: number of the window → its model.
    """
    windows = {pair.window.number: pair.window for pair in pairs}
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
        "reference": "seasonal naive",
        **overall(pairs),
        "per_window": [
            _of_window(windows[number], used[number], group)
            for number, group in _grouped(pairs, lambda pair: pair.window.number)
        ],
        "per_step": _per_step(pairs),
        "per_item": [
            {"item_id": item_id, "windows": len(group), **overall(group)}
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


def _of_window(window: Window, used: Used, group: Sequence[Pair]) -> dict[str, Any]:
    return {
        "window": window.number,
        "origin": _text(window.origin),
        "first_forecast": _text(window.first),
        "items": len(group),
        "version": used.version,
        "source": used.source,
        "cutoff": used.cutoff,
        "sha256": used.sha256,
        "fitted": used.fitted,
        **overall(group),
    }


def _text(moment: np.datetime64 | None) -> str | None:
    return None if moment is None else str(moment.astype("datetime64[s]"))


def _grouped(pairs: Iterable[Pair], key: Callable[[Pair], Any]) -> list[tuple[Any, list[Pair]]]:
    groups: dict[Any, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(key(pair), []).append(pair)
    return list(groups.items())


def _averaged(rows: Sequence[Metrics]) -> Metrics:
    """Average each metric over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}


# Per step of the horizon: pooled over all series, channels and windows


def _per_step(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    actual = np.concatenate([pair.part.actual for pair in pairs])  # [P, H]
    scales = np.concatenate([_scales(pair.part) for pair in pairs])  # [P]
    of_model = _stacked([pair.forecast for pair in pairs])
    of_naive = _stacked([pair.naive for pair in pairs])
    levels = pairs[0].forecast.quantile_levels
    return [
        {
            "step": step + 1,
            "metrics": _at_step(actual[:, step], of_model[..., step], scales, levels),
            "naive": _at_step(actual[:, step], of_naive[..., step], scales, levels),
        }
        for step in range(actual.shape[1])
    ]


def _stacked(forecasts: Sequence[Forecast]) -> FloatArray:
    """Stack mean and quantiles of every channel: [P, 1 + Q, H]."""
    rows = [np.concatenate([one.mean[:, None], one.quantiles], axis=1) for one in forecasts]
    return np.concatenate(rows)


def _scales(part: Part) -> FloatArray:
    """Find what an error of each channel [C] is divided by in MASE; NaN where it has no scale."""
    one, none = np.ones(1), np.zeros(1)
    season = part.past.season_length
    return np.array([1 / accuracy.mase(one, none, past, season) for past in part.past.target])


def _at_step(
    actual: FloatArray, rows: FloatArray, scales: FloatArray, levels: tuple[float, ...]
) -> Metrics:
    """Measure one step: actual [P], rows [P, 1 + Q]."""
    mean, quantiles = rows[:, 0], rows[:, 1:].T
    metrics = {
        "mae": accuracy.mae(actual, mean),
        "rmse": accuracy.rmse(actual, mean),
        "mape": accuracy.mape(actual, mean),
        "smape": accuracy.smape(actual, mean),
        "mase": accuracy.mae(actual / scales, mean / scales),
    }
    if levels:
        metrics["wql"] = accuracy.wql(actual, quantiles, levels)
    if len(levels) > 1 and abs(levels[0] + levels[-1] - 1) < 1e-9:
        metrics["coverage"] = accuracy.coverage(actual, quantiles[0], quantiles[-1])
        metrics["interval_width"] = accuracy.interval_width(quantiles[0], quantiles[-1])
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


# The table


def _write_table(path: Path, pairs: Sequence[Pair]) -> None:
    levels = pairs[0].forecast.quantile_levels
    schema = _schema(levels)
    with pq.ParquetWriter(path, schema) as writer:
        for _, group in _grouped(pairs, lambda pair: pair.window.number):
            tables = [
                _table(pair, channel, schema) for pair in group for channel in _channels(pair)
            ]
            writer.write_table(pa.concat_tables(tables))


def _schema(levels: tuple[float, ...]) -> pa.Schema:
    texts = [("item_id", pa.string()), ("channel", pa.string())]
    whole = [("window", pa.int32()), ("step", pa.int32())]
    times = [("origin", pa.timestamp("s")), ("timestamp", pa.timestamp("s"))]
    numbers = ["actual", "mean", "naive", *map(repr, levels)]
    return pa.schema([*texts, *whole, *times, *((name, pa.float64()) for name in numbers)])


def _channels(pair: Pair) -> range:
    return range(len(pair.part.actual))


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
        pair.naive.mean[channel],
        *pair.forecast.quantiles[channel],
    ]
    return pa.table(columns, schema=schema)


def _times(part: Part) -> list[Any]:
    if part.timestamps is None:
        return [None] * part.actual.shape[1]
    return [_time(moment) for moment in part.timestamps]


def _time(moment: np.datetime64 | None) -> Any:
    return None if moment is None else moment.astype("datetime64[s]").item()
