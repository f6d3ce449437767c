"""What fine-tuning Sprout gains and costs, beside the same model zero-shot.

    python -m benchmarks.tuning_sprout                       # all sets, whole and by adapters
    python -m benchmarks.tuning_sprout --sets etth1 --ways whole

Each set is cut in time: the model learns from the first part, a tenth of it held back to choose
the weights, with the default options, and forecasts windows of the second. The weekly closes are
those of 20 companies in the nine years up to 2016, and windows of the three years after.
"""

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.accuracy_etth1 import HORIZON as ETT_HORIZON
from benchmarks.accuracy_etth1 import TRAIN, VALIDATION, read, standardised
from benchmarks.walkforward import read as read_prices
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.models.sprout.model import SHIPPED, SproutModel
from forecast.training.plan import Validation
from forecast.training.splitting import split

DATA = Path(__file__).parents[2] / "shared" / "data"
DECILES = tuple(decile / 10 for decile in range(1, 10))
WAYS: dict[str, dict[str, Any]] = {"whole": {}, "adapters": {"lora": {}, "learning_rate": 5e-3}}
SHOWN = ("mae", "rmse", "mase", "wql", "coverage_80")


class Set(NamedTuple):
    """Series to learn from, and series whose last steps are forecast from those before."""

    known: list[Series]
    windows: list[Series]
    horizon: int
    options: dict[str, Any]


def electricity(data: Path) -> Set:
    """Forecast each of the last 14 days of four markets, from the eight weeks before."""
    with (data / "electricity-short-with-ex-vars.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    known, windows = [], []
    for market in sorted({row["unique_id"] for row in rows}):
        values = [float(row["y"]) for row in rows if row["unique_id"] == market]
        whole = _series(np.array(values), "h", market, rows[0]["ds"])
        first = whole.length - 14 * 24
        known.append(whole.until(first))
        windows += [whole.until(end) for end in range(first + 24, whole.length + 1, 24)]
    return Set(known, windows, 24, {})


def etth1(data: Path) -> Set:
    """Forecast every 96th window of the test months, each of the seven channels by itself."""
    values, names, start = read(data / "ETTh1.csv.gz")
    first = TRAIN + VALIDATION
    channels = [
        _series(channel, "h", name, str(start))
        for channel, name in zip(standardised(values), names, strict=True)
    ]
    ends = range(first + ETT_HORIZON, channels[0].length + 1, ETT_HORIZON)
    windows = [one.until(end).last(768 + ETT_HORIZON) for end in ends for one in channels]
    return Set([one.until(first) for one in channels], windows, ETT_HORIZON, {"stride": 12})


def weekly_closes(data: Path) -> Set:
    """Forecast four weeks from every fourth week of 2017 to 2019."""
    prices = read_prices(data / "sp500_20_daily.csv.gz", 2008, 2019)
    companies = prices.series()
    first = int((prices.dates < np.datetime64("2017-01-01")).sum())
    windows = [
        one.until(end) for end in range(first + 4, companies[0].length + 1, 4) for one in companies
    ]
    return Set([one.until(first) for one in companies], windows, 4, {"context_length": 104})


SETS: dict[str, Callable[[Path], Set]] = {
    "electricity": electricity,
    "etth1": etth1,
    "weekly_closes": weekly_closes,
}


def tuned(given: Set, options: dict[str, Any]) -> SproutModel:
    """Fine-tune as a job does, without learning the validation split again."""
    model = SproutModel.load_model(SHIPPED, horizon=given.horizon, **given.options, **options)
    parts = split(given.known, Validation(), model.training_horizon)
    return model.fit(
        parts.train, parts.validation, first_validation_steps=parts.first_validation_steps
    )


def _series(values: np.ndarray, freq: str, item_id: str, start: str) -> Series:
    parsed = Frequency.parse(freq)
    return Series(values[None], item_id=item_id, start=np.datetime64(start, "s"), freq=parsed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--data", type=Path, default=DATA)
    asked = parser.parse_args()
    for name in asked.sets:
        given = SETS[name](asked.data)
        task = ForecastTask(given.horizon, DECILES)
        for way in ("zero-shot", *asked.ways):
            started, clock = time.process_time(), time.monotonic()
            model = SproutModel.tiny() if way == "zero-shot" else tuned(given, WAYS[way])
            spent = f"{time.process_time() - started:.0f}/{time.monotonic() - clock:.0f} s"
            found = model.evaluate(given.windows, task)
            cells = "  ".join(f"{key} {found[key]:.4f}" for key in SHOWN if key in found)
            kept = f"steps {model.training_.length.steps}" if model.training_ else ""
            print(f"{name:<14} {way:<10} {cells}  processor/wall {spent}  {kept}", flush=True)


if __name__ == "__main__":
    main()
