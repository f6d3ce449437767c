"""Forecast the airline passengers with every model that needs no download, and compare them.

Holds out the last year, asks a running gateway for it, prints point forecasts, quantiles and
errors, and draws one fan chart:
    python examples/demo.py --url http://127.0.0.1:8000 --key KEY --chart airline.png
"""

import argparse
import csv
import json
import os
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from forecast.core.accuracy import coverage, mase, smape

HELD_OUT = 12
SEASON = 12
WAIT_S = 60
LEVELS = (0.1, 0.5, 0.9)
STATISTICAL = (
    "auto", "auto_ets", "auto_arima", "auto_theta", "auto_ces", "mstl", "seasonal_naive",
)  # fmt: skip


@dataclass(frozen=True)
class Contender:
    """A model and the options it is asked with."""

    label: str
    model_id: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What a contender forecast of the held-out year: mean [H], quantiles level → [H]."""

    label: str
    mean: np.ndarray
    quantiles: dict[float, np.ndarray]
    seconds: float


class Gateway:
    """The few calls the demo makes, with nothing but the standard library."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._key = key

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            self._url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-API-Key": self._key, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{path}: {json.load(error)['detail']}") from error
        except urllib.error.URLError as error:
            raise SystemExit(f"no gateway answers at {self._url}: {error.reason}") from error


def airline() -> tuple[np.ndarray, np.ndarray]:
    """Read the sample: the months [T] and the passengers in thousands [T]."""
    text = files("forecast.data").joinpath("samples/air_passengers.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    months = np.array([row["timestamp"] for row in rows], dtype="datetime64[D]")
    return months, np.array([float(row["value"]) for row in rows])


def contenders(gateway: Gateway) -> list[Contender]:
    """List every model of the gateway that is ready without a training or a download."""
    models = gateway.call("/models")["models"]
    listed = []
    for model_id, entry in models.items():
        is_here = all(source.startswith("package:") for source in entry["sources"])
        needs_nothing = is_here and entry["capabilities"]["zero_shot"]
        if not needs_nothing or not is_ready(gateway, model_id):
            continue
        if model_id == "statistical":
            listed += [Contender(name, model_id, {"model": name}) for name in STATISTICAL]
        else:
            listed.append(Contender(model_id, model_id, {}))
    return listed


def is_ready(gateway: Gateway, model_id: str) -> bool:
    """Wait for a model that is starting, and tell whether it can be asked."""
    state = "initializing"
    for _ in range(WAIT_S):
        state = gateway.call(f"/forecast/v1/{model_id}/status")["model_status"]
        if state != "initializing":
            break
        time.sleep(1)
    return bool(state == "ready")


def ask(gateway: Gateway, contender: Contender, past: np.ndarray, start: str) -> Result:
    started = time.perf_counter()
    answer = gateway.call(
        f"/forecast/v1/{contender.model_id}/inference",
        {
            "inputs": [
                {"item_id": "airline", "target": past.tolist(), "start": start, "freq": "MS"}
            ],
            "parameters": {
                "horizon": HELD_OUT,
                "quantile_levels": LEVELS,
                "seed": 7,
                "model_options": contender.options,
            },
        },
    )
    prediction = answer["predictions"][0]
    return Result(
        contender.label,
        np.asarray(prediction["mean"]),
        {float(level): np.asarray(path) for level, path in prediction["quantiles"].items()},
        time.perf_counter() - started,
    )


def table(results: list[Result], months: np.ndarray, past: np.ndarray, actual: np.ndarray) -> str:
    """Lay out the forecasts of a few months and the errors over the whole year."""
    shown = [0, HELD_OUT // 2, HELD_OUT - 1]
    heads = [str(months[-HELD_OUT:][step])[:7] for step in shown]
    lines = [
        "thousands of passengers: mean [80 % interval]",
        f"{'':<16}"
        + "".join(f"{head:>20}" for head in heads)
        + f"{'sMAPE %':>10}{'MASE':>7}{'in 80 %':>9}{'s':>7}",
        f"{'what happened':<16}" + "".join(f"{actual[step]:>20.0f}" for step in shown),
    ]
    for one in results:
        low, high = one.quantiles[LEVELS[0]], one.quantiles[LEVELS[-1]]
        cells = (f"{one.mean[s]:.0f} [{low[s]:.0f}, {high[s]:.0f}]" for s in shown)
        lines.append(
            f"{one.label:<16}"
            + "".join(f"{cell:>20}" for cell in cells)
            + f"{smape(actual, one.mean):>10.2f}{mase(actual, one.mean, past, SEASON):>7.2f}"
            + f"{coverage(actual, low, high):>9.0%}{one.seconds:>7.2f}"
        )
    return "\n".join(lines)


def draw(results: list[Result], months: np.ndarray, values: np.ndarray, chart: Path) -> None:
    """Draw one fan chart per model on common axes."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    columns = min(4, len(results))
    rows = -(-len(results) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(4.0 * columns, 3.1 * rows), sharex=True, sharey=True, squeeze=False
    )
    recent, future = slice(-4 * SEASON, None), months[-HELD_OUT:]
    for axis, one in zip(axes.flat, results, strict=False):
        low, high = one.quantiles[LEVELS[0]], one.quantiles[LEVELS[-1]]
        axis.plot(months[recent], values[recent], color="0.35", lw=1.2, label="what happened")
        axis.fill_between(future, low, high, color="tab:blue", alpha=0.25, lw=0, label="80 %")
        axis.plot(future, one.mean, color="tab:blue", lw=1.6, label="forecast")
        axis.set_title(f"{one.label}   sMAPE {smape(values[-HELD_OUT:], one.mean):.1f} %")
        axis.grid(alpha=0.3)
        axis.tick_params(axis="x", rotation=30)
    for axis in list(axes.flat)[len(results) :]:
        axis.set_axis_off()
    axes[0, 0].legend(loc="upper left", fontsize=8)
    figure.suptitle("Airline passengers (thousands a month): the last year, held out")
    figure.tight_layout()
    figure.savefig(chart, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--key", default=os.environ.get("FORECAST_API_KEY", ""))
    parser.add_argument("--chart", type=Path, default=Path("demo.png"))
    given = parser.parse_args()
    gateway = Gateway(given.url, given.key)
    months, values = airline()
    past, actual = values[:-HELD_OUT], values[-HELD_OUT:]
    results = [ask(gateway, one, past, str(months[0])) for one in contenders(gateway)]
    results.sort(key=lambda one: mase(actual, one.mean, past, SEASON))
    sys.stdout.write(table(results, months, past, actual) + "\n")
    draw(results, months, values, given.chart)
    sys.stdout.write(f"fan chart: {given.chart}\n")


if __name__ == "__main__":
    main()
