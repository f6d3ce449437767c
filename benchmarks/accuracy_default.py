"""Accuracy and intervals of the statistical methods over the data sets here, in this process.

    python -m benchmarks.accuracy_default                         # auto, and what it combines
    python -m benchmarks.accuracy_default --methods auto --m4 414 # all of M4 hourly
    python -m benchmarks.accuracy_default --methods sprout        # Sprout on the same windows

For each set: MASE over that of the seasonal naive in the same run, the share of the truth in 80 %
and 95 % intervals, and MSIS, with conformal and with native intervals.
"""

import argparse
import csv
import gzip
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from forecast.core.accuracy import coverage, mase, msis, smape
from forecast.core.frequency import Frequency
from forecast.core.types import FloatArray, Forecast, ForecastTask, Intervals, Series
from forecast.models.sprout.model import SproutModel
from forecast.models.statistical.model import StatisticalModel
from forecast.models.statistical.spec import StatisticalOptions

DATA = Path(__file__).parents[2] / "shared" / "data"
LEVELS = (0.025, 0.1, 0.9, 0.975)
METHODS = ("auto", "mstl", "auto_ces", "auto_theta")


@dataclass(frozen=True)
class Window:
    """What is known, and what came."""

    series: Series
    actual: FloatArray


def window(values: FloatArray, end: int, horizon: int, freq: str, longest: int = 1000) -> Window:
    past = Series(values[None, max(end - longest, 0) : end], freq=Frequency.parse(freq))
    return Window(past, values[end : end + horizon])


def m4_hourly(count: int) -> list[Window]:
    """Draw some of the 414 series of M4 hourly; all if `count` is 414."""
    parts = []
    for part in ("train", "test"):
        with gzip.open(DATA / f"m4_hourly_{part}.csv.gz", "rt") as file:
            rows = list(csv.reader(file))[1:]
        parts.append([np.array([float(value) for value in row[1:] if value]) for row in rows])
    drawn = np.random.default_rng(1).choice(len(parts[0]), min(count, 414), replace=False)
    both = [np.concatenate([parts[0][row], parts[1][row]]) for row in sorted(drawn)]
    return [window(values, len(values) - 48, 48, "h") for values in both]


def ett() -> list[Window]:
    table = pd.read_csv(DATA / "ETTh1.csv.gz").iloc[:, 1:].to_numpy(float)
    ends = np.random.default_rng(2).integers(2000, len(table) - 48, 9)
    return [window(column, end, 48, "h") for end in ends for column in table.T]


def electricity() -> list[Window]:
    table = pd.read_csv(DATA / "electricity-short-with-ex-vars.csv")
    return [
        window(market["y"].to_numpy(float), end, 24, "h")
        for _, market in table.groupby("unique_id")
        for end in range(len(market) - 24 * 14, len(market) - 23, 72)
    ]


def airline() -> list[Window]:
    values = pd.read_csv(DATA / "air_passengers.csv")["value"].to_numpy(float)
    return [window(values, end, 12, "MS") for end in range(60, 133, 6)]


def visits() -> list[Window]:
    values = pd.read_csv(DATA / "peyton_manning.csv").iloc[:, -1].to_numpy(float)
    return [window(values, end, 28, "D") for end in range(600, len(values) - 28, 100)]


def prices() -> list[Window]:
    table = pd.read_csv(DATA / "sp500_20_daily.csv.gz").iloc[:, 1:].to_numpy(float)
    draw = np.random.default_rng(3)
    return [
        window(column, int(end), 20, "B", 700)
        for column in table.T
        for end in draw.integers(700, len(table) - 20, 2)
    ]


def forecasts(windows: Sequence[Window], method: str, intervals: Intervals) -> list[Forecast]:
    series = [each.series for each in windows]
    task = ForecastTask(len(windows[0].actual), LEVELS, intervals=intervals)
    if method == "sprout":
        return SproutModel.tiny().predict(series, task)
    options = StatisticalOptions(model=method)  # type: ignore[arg-type]
    model = StatisticalModel()
    try:
        return model.predict(series, replace(task, options=options))
    finally:
        model.close()


def score(windows: Sequence[Window], answers: Sequence[Forecast]) -> FloatArray:
    """Average sMAPE, MASE, coverage of 80 % and 95 %, and MSIS."""
    rows = []
    for each, answer in zip(windows, answers, strict=True):
        past, season = each.series.target[0], each.series.season_length
        low, lower, upper, high = answer.quantiles[0]
        rows.append(
            (
                smape(each.actual, answer.mean[0]),
                mase(each.actual, answer.mean[0], past, season),
                coverage(each.actual, lower, upper),
                coverage(each.actual, low, high),
                msis(each.actual, (low, high), past, season),
            )
        )
    means: FloatArray = np.mean(rows, axis=0)
    return means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--m4", type=int, default=60, help="series of M4 hourly")
    parser.add_argument("--sets", nargs="+", help="some of the sets, by name")
    given = parser.parse_args()
    sets: dict[str, Callable[[], list[Window]]] = {
        "m4_hourly": lambda: m4_hourly(given.m4),
        "etth1": ett,
        "electricity": electricity,
        "airline": airline,
        "visits": visits,
        "prices": prices,
    }
    ratios: dict[str, list[float]] = {method: [] for method in given.methods}
    for name in given.sets or sets:
        windows = sets[name]()
        naive = score(windows, forecasts(windows, "seasonal_naive", "native"))[1]
        for method in given.methods:
            for intervals in ("conformal", "native"):
                started = time.monotonic()
                figures = score(windows, forecasts(windows, method, intervals))
                cells = " ".join(f"{figure:8.3f}" for figure in (figures[1] / naive, *figures))
                row = f"{name:<12} {len(windows):>4} {method:<11} {intervals:<10} {cells}"
                print(f"{row} {time.monotonic() - started:.0f} s", flush=True)
            ratios[method].append(figures[1] / naive)
    for method, each in ratios.items():
        print(f"geometric mean over the sets, {method}: {np.exp(np.mean(np.log(each))):.3f}")


if __name__ == "__main__":
    main()
