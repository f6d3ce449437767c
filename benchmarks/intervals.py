"""Coverage and MSIS of native and calibrated intervals, on simulated series and on M4 hourly.

python -m benchmarks.intervals [--series 60] [--families prophet,...]
python -m benchmarks.intervals --short [--series 160]  # the default, by length and missing values
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from benchmarks import accuracy_m4_hourly as m4
from forecast.core.frequency import Frequency
from forecast.core.types import FloatArray, ForecastTask, Intervals, Series
from forecast.models import MODEL_REGISTRY
from forecast.models.base.model import BaseTimeSeriesModel

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
KINDS: tuple[Intervals, ...] = ("native", "conformal")


class Data(NamedTuple):
    """Series that end before the H steps `actual` [N, H]; seasons of `season` steps."""

    name: str
    series: list[Series]
    actual: FloatArray
    season: int


def simulated(
    name: str, make: Callable[[np.random.Generator, int], FloatArray], count: int, freq: str
) -> Data:
    """Draw series of 96 steps and the 12 after them."""
    rng = np.random.default_rng(1)
    drawn = np.stack([make(rng, 108) for _ in range(count)])
    return _cut(name, drawn, 12, freq)


def _cut(name: str, drawn: FloatArray, horizon: int, freq: str) -> Data:
    step = Frequency.parse(freq)
    start = np.datetime64("2015-01-01", "s")
    series = [
        Series(row[None, :-horizon], item_id=str(number), start=start, freq=step)
        for number, row in enumerate(drawn)
    ]
    return Data(name, series, drawn[:, -horizon:], step.season_length)


def walk(rng: np.random.Generator, steps: int) -> FloatArray:
    return 50 + rng.normal(size=steps).cumsum()


def autoregression(rng: np.random.Generator, steps: int) -> FloatArray:
    noise = rng.normal(size=steps)
    values = np.zeros(steps)
    for at in range(1, steps):
        values[at] = 0.7 * values[at - 1] + noise[at]
    return 50 + values


def seasonal(rng: np.random.Generator, steps: int) -> FloatArray:
    months = np.arange(steps)
    return 100 + 0.3 * months + 10 * np.sin(2 * np.pi * months / 12) + rng.normal(0, 3, steps)


def skewed(rng: np.random.Generator, steps: int) -> FloatArray:
    days = np.arange(steps)
    return 20 + 4 * np.sin(2 * np.pi * days / 7) + rng.exponential(4, steps)


def data_sets(count: int) -> Iterator[Data]:
    yield simulated("random walks", walk, count, "D")
    yield simulated("AR(1), 0.7", autoregression, count, "D")
    yield simulated("trend, year, noise", seasonal, count, "MS")
    yield simulated("week, skewed noise", skewed, count, "D")
    if m4.DATA.exists():
        yield _m4(count)


def _m4(count: int) -> Data:
    """Read series spread over M4 hourly: the last 700 steps, and the 48 after them."""
    past = list(m4.series_of("m4_hourly_train.csv.gz", m4.DATA).values())
    future = list(m4.series_of("m4_hourly_test.csv.gz", m4.DATA).values())
    chosen = np.linspace(0, len(past) - 1, min(count, len(past))).round().astype(int)
    rows = [np.concatenate([past[at][-700:], future[at]]) for at in chosen]
    return _cut("M4 hourly", np.stack(rows), m4.HORIZON, "h")


SHORT: dict[str, Callable[[np.random.Generator, int], FloatArray]] = {
    "noise": lambda rng, steps: 50 + rng.normal(size=steps),
    "trend": lambda rng, steps: 50 + 0.3 * np.arange(steps) + rng.normal(size=steps),
    "random walk": walk,
    "AR(1), 0.7": autoregression,
    "year, noise": lambda rng, steps: (
        100 + 10 * np.sin(2 * np.pi * np.arange(steps) / 12) + rng.normal(0, 3, steps)
    ),
    "lognormal": lambda rng, steps: rng.lognormal(size=steps),
    "counts": lambda rng, steps: rng.poisson(2.0, steps).astype(float),
}
LENGTHS = (3, 5, 8, 12, 20, 36, 60, 120)


def short(model: BaseTimeSeriesModel, count: int) -> None:
    """Print, by kind and length, the 80 % coverage of 8 steps, whole and with 30 % missing.

    The third figure is the mean width with missing values over that without.
    """
    print("| series | " + " | ".join(map(str, LENGTHS)) + " |")
    print("| --- |" + " --- |" * len(LENGTHS))
    for name, make in SHORT.items():
        freq = "MS" if name == "year, noise" else "D"
        cells = (_short_cell(model, make, length, freq, count) for length in LENGTHS)
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def _short_cell(
    model: BaseTimeSeriesModel,
    make: Callable[[np.random.Generator, int], FloatArray],
    length: int,
    freq: str,
    count: int,
) -> str:
    rng = np.random.default_rng(length)
    whole = np.stack([make(rng, length + 8) for _ in range(count)])
    gappy = whole.copy()
    lost = min(round(0.3 * length), length - 2)
    for row in gappy:
        row[rng.permutation(length)[:lost]] = np.nan
    held, widths = [], []
    for drawn in (whole, gappy):
        batch = _cut(name="", drawn=drawn, horizon=8, freq=freq).series
        answers = model.predict(batch, ForecastTask(8, (0.1, 0.9)))
        lower, upper = np.stack([one.quantiles[0] for one in answers]).swapaxes(0, 1)
        held.append(((lower <= whole[:, length:]) & (whole[:, length:] <= upper)).mean())
        widths.append((upper - lower).mean())
    return f"{held[0]:.0%} {held[1]:.0%} {widths[1] / widths[0]:.2f}"


def measure(model: BaseTimeSeriesModel, data: Data, intervals: Intervals) -> tuple[float, ...]:
    """Return coverage at 80 % and 95 %, MSIS at 95 %, and seconds a series."""
    task = ForecastTask(data.actual.shape[1], LEVELS, intervals=intervals)
    begin = time.perf_counter()
    forecasts = model.predict(data.series, task)
    seconds = (time.perf_counter() - begin) / len(data.series)
    quantiles = np.stack([one.quantiles[0] for one in forecasts])  # [N, Q, H]
    low, lower, _, upper, high = quantiles.swapaxes(0, 1)
    at_80 = ((lower <= data.actual) & (data.actual <= upper)).mean()
    at_95 = ((low <= data.actual) & (data.actual <= high)).mean()
    missed = np.maximum(low - data.actual, 0) + np.maximum(data.actual - high, 0)
    score = (high - low + 40 * missed).mean(axis=1)
    usual = [
        np.nanmean(np.abs(np.diff(one.target[0]) if data.season == 1 else _differences(one, data)))
        for one in data.series
    ]
    return float(at_80), float(at_95), float((score / usual).mean()), seconds


def _differences(series: Series, data: Data) -> FloatArray:
    target = series.target[0]
    return np.asarray(target[data.season :] - target[: -data.season], dtype=float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=60)
    parser.add_argument("--families", default="prophet,statistical")
    parser.add_argument("--short", action="store_true", help="the default on short series")
    asked = parser.parse_args()
    if asked.short:
        short(MODEL_REGISTRY["statistical"].model_class().load_model(None), asked.series)
        return
    print("| family | data | intervals | 80 % | 95 % | MSIS | s a series |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for family in asked.families.split(","):
        model = MODEL_REGISTRY[family].model_class().load_model(None)
        model.predict([replace(next(data_sets(1)).series[0])], ForecastTask(1))  # warm up
        for data in data_sets(asked.series):
            for kind in KINDS:
                at_80, at_95, msis, seconds = measure(model, data, kind)
                numbers = f"{at_80:.2f} | {at_95:.2f} | {msis:.2f} | {seconds:.2f}"
                print(f"| {family} | {data.name} | {kind} | {numbers} |", flush=True)
        model.close()


if __name__ == "__main__":
    main()
