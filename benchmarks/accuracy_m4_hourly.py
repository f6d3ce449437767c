"""Accuracy on the 414 hourly series of the M4 competition, through the HTTP API.

    python -m benchmarks.accuracy_m4_hourly                      # seasonal naive, theta, auto
    python -m benchmarks.accuracy_m4_hourly --model chronos --source local:/path/to/weights

The published figures are those of the competition's own evaluation workbook.
"""

import argparse
import csv
import gzip
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.running_gateway import Gateway, running_gateway
from forecast.core.accuracy import mase, msis, owa, smape

DATA = Path(__file__).parents[2] / "shared" / "data"
SEASON, HORIZON = 24, 48
NAIVE2 = (18.383, 2.395)  # sMAPE and MASE of Naive 2, the yardstick of OWA
PUBLISHED = {
    "M4 winner (Smyl)": (9.328, 0.893, 0.440, 7.928),
    "seasonal naive": (13.912, 1.193, 0.627, None),
    "Theta": (18.138, 2.455, 1.006, None),
    "ARIMA": (None, None, None, 7.538),
    "ETS": (None, None, None, 17.487),
}
METHODS = ("seasonal_naive", "auto_theta", "mstl", "auto")
CHUNK = 64


def series_of(name: str, folder: Path) -> dict[str, np.ndarray]:
    """Read one row a series: its id, then its ragged values."""
    with gzip.open(folder / name, "rt") as file:
        rows = list(csv.reader(file))[1:]
    return {row[0]: np.array([float(value) for value in row[1:] if value]) for row in rows}


def forecasts(gateway: Gateway, model: str, train: dict[str, np.ndarray], options: Any) -> Any:
    """Ask for every series, a chunk at a time: item id → prediction."""
    parameters = {
        "horizon": HORIZON,
        "quantile_levels": [0.025, 0.5, 0.975],
        "model_options": options,
        "timeout_s": 600,
    }
    items = list(train.items())
    answers = {}
    for start in range(0, len(items), CHUNK):
        inputs = [
            {"item_id": name, "target": past.tolist(), "start": "2015-01-01T00:00:00", "freq": "h"}
            for name, past in items[start : start + CHUNK]
        ]
        body = {"inputs": inputs, "parameters": parameters}
        answer = gateway.call("POST", f"/forecast/v1/{model}/inference", body)
        answers |= {prediction["item_id"]: prediction for prediction in answer["predictions"]}
    return answers


def score(
    train: dict[str, np.ndarray], test: dict[str, np.ndarray], answers: Any
) -> tuple[float, float, float, float]:
    """Average sMAPE (in percent), MASE, OWA and MSIS over the series."""
    rows = []
    for name, past in train.items():
        future, answer = test[name], answers[name]
        mean = np.asarray(answer["mean"])
        lower, upper = (np.asarray(answer["quantiles"][level]) for level in ("0.025", "0.975"))
        rows.append(
            (
                smape(future, mean),
                mase(future, mean, past, SEASON),
                msis(future, (lower, upper), past, SEASON, level=0.95),
            )
        )
    percent, scaled, interval = np.mean(rows, axis=0)
    weighted = owa(percent, scaled, NAIVE2)
    return float(percent), float(scaled), weighted, float(interval)


def line(name: str, figures: tuple[float | None, ...], note: str = "") -> str:
    cells = " ".join(f"{'' if figure is None else f'{figure:.3f}':>8}" for figure in figures)
    return f"{name:<32} {cells}  {note}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="statistical")
    parser.add_argument("--source", help="weights, for a model that has any")
    parser.add_argument("--methods", nargs="+", default=METHODS, help="of the statistical model")
    parser.add_argument("--data", type=Path, default=DATA)
    given = parser.parse_args()
    train, test = (series_of(f"m4_hourly_{part}.csv.gz", given.data) for part in ("train", "test"))
    is_statistical = given.model == "statistical"
    runs = [{"model": method} for method in given.methods] if is_statistical else [{}]
    print(f"{'':<32} {'sMAPE':>8} {'MASE':>8} {'OWA':>8} {'MSIS':>8}")
    for name, figures in PUBLISHED.items():
        print(line(f"published: {name}", figures))
    roots = json.dumps([given.source.removeprefix("local:")] if given.source else [])
    with running_gateway(FORECAST_LOCAL_ROOTS=roots) as gateway:
        if given.source:
            body = {"source": given.source}
            gateway.call("POST", f"/forecast/v1/{given.model}/initialization", body)
        for options in runs:
            started = time.monotonic()
            answers = forecasts(gateway, given.model, train, options)
            note = f"{time.monotonic() - started:.0f} s"
            print(
                line(" ".join([given.model, *options.values()]), score(train, test, answers), note)
            )


if __name__ == "__main__":
    main()
