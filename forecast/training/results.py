"""How good the forecasts of a backtest were, beside the baselines: JSON and Parquet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from forecast.core.atomic import replacing
from forecast.core.metrics import Errors
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series
from forecast.jobs.folders import RESULT
from forecast.training.forecasting import Origin, Part
from forecast.training.past_models import ChosenModel
from forecast.training.plan import BacktestPlan

TABLE = "result.parquet"
FORMAT_VERSION = 2
MOST_VALUES = 50_000_000  # of all forecasts together

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One series at one origin: the forecast of the model, and that of each baseline."""

    origin: Origin
    part: Part
    forecast: Forecast
    baselines: Mapping[str, Forecast]


def pair_of(origin: Origin, part: Part, forecast: Forecast, task: ForecastTask) -> Pair:
    """Make the forecasts of the baselines from the same past."""
    baselines = {name: baseline(part.past, task) for name, baseline in BASELINES.items()}
    return Pair(origin, part, forecast, baselines)


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


def _headline(found: Metrics, baselines: Mapping[str, Metrics]) -> str:
    """Name the metric that models are compared by: MASE, or MAE where that has no meaning."""
    return "mase" if all("mase" in one for one in (found, *baselines.values())) else "mae"


def _best(baselines: Mapping[str, Metrics]) -> str:
    metric = _headline({"mase": 0.0}, baselines)
    return min(baselines, key=lambda name: baselines[name].get(metric, np.inf))


def document(
    job_id: str,
    model_id: str,
    plan: BacktestPlan,
    pairs: Sequence[Pair],
    models: Mapping[int, ChosenModel],
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Make the whole result: overall, per origin, per step of the horizon and per item.

    Args:
        models: number of the origin → its model.
    """
    origins = {pair.origin.number: pair.origin for pair in pairs}
    measured = Measured(pairs)
    return {
        "format_version": FORMAT_VERSION,
        "job_id": job_id,
        "model_id": model_id,
        "data_reference": plan.data_reference,
        "horizon": plan.horizon,
        "windows": len(origins),
        "step": plan.step,
        "refit": plan.refit,
        "quantile_levels": pairs[0].forecast.quantile_levels,
        **measured.overall(),
        "per_window": [
            _of_origin(origins[number], models[number], measured.of_pairs(group), len(group))
            for number, group in _grouped(pairs, lambda pair: pair.origin.number)
        ],
        "per_step": [
            {"step": step + 1, **measured.at_step(step)} for step in range(measured.horizon)
        ],
        "per_item": [
            {"item_id": item_id, "windows": len(group), **measured.of_pairs(group)}
            for item_id, group in _grouped(pairs, lambda pair: pair.part.past.item_id)
        ],
        "warnings": list(warnings),
    }


def summary(found: Mapping[str, Any]) -> str:
    """Compare the model with the best of the baselines, in a line."""
    best = found["best_baseline"]
    metric = _headline(found["metrics"], found["baselines"])
    ours, theirs = (
        one.get(metric, float("nan")) for one in (found["metrics"], found["baselines"][best])
    )
    text = f"{metric.upper()} {ours:.4g} over {found['windows']} windows"
    baseline = f"the best baseline, the {best.replace('_', ' ')}, has {theirs:.4g}"
    if not theirs > 0:
        return f"{text}; {baseline}"
    share = 100 * abs(ours / theirs - 1)
    return f"{text}, {share:.1f} % {'better' if ours < theirs else 'worse'}: {baseline}"


def write(folder: Path, result: dict[str, Any], pairs: Sequence[Pair]) -> None:
    """Write the table, and then the JSON: who sees the second finds the first."""
    with replacing(folder / TABLE) as draft:
        _write_table(draft, pairs)
    with replacing(folder / RESULT) as draft:
        draft.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")


def _of_origin(
    origin: Origin, model: ChosenModel, measured: dict[str, Any], items: int
) -> dict[str, Any]:
    return {
        "window": origin.number,
        "origin": _text(origin.time),
        "first_forecast": _text(origin.first),
        "items": items,
        "version": model.version,
        "source": model.source,
        "cutoff": None if model.cutoff is None else model.cutoff.isoformat(),
        "sha256": model.sha256,
        "fitted": model.fit is not None,
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
        for _, group in _grouped(pairs, lambda pair: pair.origin.number):
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
        [pair.origin.number] * horizon,
        range(1, horizon + 1),
        pa.array([_time(pair.origin.time)] * horizon, pa.timestamp("s")),
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


# The baselines


def random_walk(series: Series, task: ForecastTask) -> Forecast:
    """Forecast no change: the newest value observed.

    The quantiles are normal, σ √h wide at step h with σ² the mean squared step (Hyndman &
    Athanasopoulos, FPP3, 5.2 and 5.5).
    """
    return _naive(series, task, season=1)


def seasonal_naive(series: Series, task: ForecastTask) -> Forecast:
    """Forecast each step by the newest value observed a whole number of seasons before it.

    The quantiles are normal, σ √(k + 1) wide with k whole seasons since the last one known and
    σ² the mean squared difference between neighbouring seasons (FPP3, 5.2 and 5.5). A series
    shorter than two seasons is repeated from its last value.
    """
    season = series.season_length if series.length >= 2 * series.season_length else 1
    return _naive(series, task, season)


def historic_average(series: Series, task: ForecastTask) -> Forecast:
    """Forecast the mean of what was observed.

    The quantiles are normal, σ √(1 + 1/T) wide with σ the standard deviation of the T values
    observed (FPP3, 5.2 and 5.5).
    """
    observed = ~np.isnan(series.target)
    count = np.maximum(observed.sum(axis=1), 1)
    level = np.nansum(series.target, axis=1) / count
    squares = np.nansum((series.target - level[:, None]) ** 2, axis=1)
    width = np.sqrt(squares / np.maximum(count - 1, 1) * (1 + 1 / count))
    steps = np.ones(task.horizon)
    return _normal(level[:, None] * steps, width[:, None] * steps, task)


BASELINES: Mapping[str, Callable[[Series, ForecastTask], Forecast]] = {
    "random_walk": random_walk,
    "seasonal_naive": seasonal_naive,
    "historic_average": historic_average,
}


def _naive(series: Series, task: ForecastTask, season: int) -> Forecast:
    steps = np.arange(task.horizon)
    known = np.stack([_last_season(channel, season) for channel in series.target])  # [C, m]
    widths = _spread(series.target, season)[:, None] * np.sqrt(steps // season + 1)
    return _normal(known[:, steps % season], widths, task)


def _normal(mean: FloatArray, widths: FloatArray, task: ForecastTask) -> Forecast:
    """Put normal quantiles around [C, H], with standard deviations [C, H]."""
    scores = np.array([NormalDist().inv_cdf(level) for level in task.quantile_levels])
    quantiles = mean[:, None] + scores[:, None] * widths[:, None]  # [C, Q, H]
    return Forecast(mean, quantiles, task.quantile_levels)


def _last_season(channel: FloatArray, season: int) -> FloatArray:
    """Take the newest observed value of each place in the season; of any place if it has none."""
    observed = channel[~np.isnan(channel)]
    newest = observed[-1] if observed.size else np.nan
    places = [channel[len(channel) - season + place :: -season] for place in range(season)]
    there = [values[~np.isnan(values)] for values in places]
    return np.array([values[0] if values.size else newest for values in there])


def _spread(target: FloatArray, season: int) -> FloatArray:
    """Measure σ of each channel [C]; 0 where there is nothing to tell it from."""
    changes = (target[:, season:] - target[:, :-season]) ** 2
    counts = (~np.isnan(changes)).sum(axis=1)
    spread: FloatArray = np.sqrt(np.nansum(changes, axis=1) / np.maximum(counts, 1))
    return spread
