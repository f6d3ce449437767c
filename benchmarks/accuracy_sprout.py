"""Accuracy of Sprout, zero-shot and through the HTTP API, beside the seasonal naive.

    python -m benchmarks.accuracy_sprout                        # all data sets
    python -m benchmarks.accuracy_sprout --sets etth1 --every 24

Nothing here was trained on: the weights have seen synthetic series only. Published figures:
M4 hourly, the competition's winner 0.440, seasonal naive 0.627 (OWA); ETTh1, horizon 96,
PatchTST/42 trained on it 0.375 (MSE).
"""

import argparse
import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy_etth1 import HORIZON as ETT_HORIZON
from benchmarks.accuracy_etth1 import TEST, TRAIN, VALIDATION, read, standardised
from benchmarks.accuracy_m4_hourly import CHUNK, NAIVE2, series_of
from benchmarks.running_gateway import Gateway, running_gateway
from forecast.core.accuracy import coverage, mae, mase, owa, smape

DATA = Path(__file__).parents[2] / "shared" / "data"
CONTEXT = 768
RUNS = {"sprout": {}, "statistical": {"model": "seasonal_naive"}}


class Ask:
    """Asks one model of a running gateway for medians and 80 % intervals."""

    def __init__(self, gateway: Gateway, model: str) -> None:
        self._gateway, self._model = gateway, model

    def __call__(self, pasts: Sequence[np.ndarray], horizon: int, freq: str) -> np.ndarray:
        """Forecast series [T]: the mean and the 10 and 90 % quantiles, [N, 3, horizon]."""
        answers = []
        for start in range(0, len(pasts), CHUNK):
            inputs = [
                {"target": past.tolist(), "start": "2015-01-01T00:00:00", "freq": freq}
                for past in pasts[start : start + CHUNK]
            ]
            parameters = {
                "horizon": horizon,
                "quantile_levels": [0.1, 0.9],
                "model_options": RUNS[self._model],
                "timeout_s": 600,
            }
            body = {"inputs": inputs, "parameters": parameters}
            path = f"/forecast/v1/{self._model}/inference"
            for made in self._gateway.call("POST", path, body)["predictions"]:
                levels = made["quantiles"]
                answers.append([made["mean"], levels["0.1"], levels["0.9"]])
        return np.array(answers)


def m4_hourly(ask: Ask, given: argparse.Namespace) -> dict[str, float]:
    train, test = (series_of(f"m4_hourly_{part}.csv.gz", given.data) for part in ("train", "test"))
    names = list(train)
    found = ask([train[name] for name in names], 48, "h")
    percent = np.mean([smape(test[n], f[0]) for n, f in zip(names, found, strict=True)])
    scaled = np.mean([mase(test[n], f[0], train[n], 24) for n, f in zip(names, found, strict=True)])
    inside = [coverage(test[n], f[1], f[2]) for n, f in zip(names, found, strict=True)]
    return {
        "OWA": owa(float(percent), float(scaled), NAIVE2),
        "sMAPE": float(percent),
        "MASE": float(scaled),
        "coverage": float(np.mean(inside)),
    }


def etth1(ask: Ask, given: argparse.Namespace) -> dict[str, float]:
    values = standardised(read(given.data / "ETTh1.csv.gz")[0])
    first = TRAIN + VALIDATION
    nows = range(first, first + TEST - ETT_HORIZON + 1, given.every)
    pasts = [channel[now - CONTEXT : now] for now in nows for channel in values]
    future = np.array([channel[now : now + ETT_HORIZON] for now in nows for channel in values])
    found = ask(pasts, ETT_HORIZON, "h")
    missed = found[:, 0] - future
    return {
        "MSE": float((missed**2).mean()),
        "MAE": float(np.abs(missed).mean()),
        "coverage": coverage(future, found[:, 1], found[:, 2]),
    }


def airline(ask: Ask, given: argparse.Namespace) -> dict[str, float]:
    rows = _rows(given.data / "air_passengers.csv")
    values = np.array([float(row["value"]) for row in rows])
    ends = range(len(values) - 72, len(values), 12)
    found = [ask([values[:end]], 12, "MS")[0, 0] for end in ends]
    scaled = [
        mase(values[end : end + 12], mean, values[:end], 12)
        for end, mean in zip(ends, found, strict=True)
    ]
    return {"MAE, last year": mae(values[-12:], found[-1]), "MASE, 6 years": float(np.mean(scaled))}


def electricity(ask: Ask, given: argparse.Namespace) -> dict[str, float]:
    """Forecast each of the last 14 days of the day-ahead prices, without covariates."""
    rows = _rows(given.data / "electricity-short-with-ex-vars.csv")
    pasts, futures, scales = [], [], []
    for market in sorted({row["unique_id"] for row in rows}):
        values = np.array([float(row["y"]) for row in rows if row["unique_id"] == market])
        for end in range(len(values) - 14 * 24, len(values), 24):
            pasts.append(values[:end])
            futures.append(values[end : end + 24])
            scales.append(np.abs(values[24:end] - values[: end - 24]).mean())
    found = ask(pasts, 24, "h")
    missed = np.abs(found[:, 0] - np.array(futures)).mean(axis=1)
    return {
        "MASE": float((missed / np.array(scales)).mean()),
        "coverage": coverage(np.array(futures), found[:, 1], found[:, 2]),
    }


def _rows(file: Path) -> list[dict[str, Any]]:
    with file.open() as lines:
        return list(csv.DictReader(lines))


SETS: dict[str, Callable[[Ask, argparse.Namespace], dict[str, float]]] = {
    "m4_hourly": m4_hourly,
    "etth1": etth1,
    "airline": airline,
    "electricity": electricity,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--models", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--every", type=int, default=1, help="windows of ETTh1 to step over")
    parser.add_argument("--data", type=Path, default=DATA)
    given = parser.parse_args()
    with running_gateway() as gateway:
        for name in given.sets:
            for model in given.models:
                started = time.monotonic()
                figures = SETS[name](Ask(gateway, model), given)
                cells = "  ".join(f"{key} {value:.3f}" for key, value in figures.items())
                print(f"{name:<12} {model:<12} {cells}  ({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
