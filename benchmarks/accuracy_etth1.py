"""Accuracy on ETTh1 of models that are trained here, through their own `fit` and `predict`.

    python -m benchmarks.accuracy_etth1                            # all models
    python -m benchmarks.accuracy_etth1 --models tsmixer patchtst --threads 1
    python -m benchmarks.accuracy_etth1 --models tide --set hidden_dim=512 --set seed=1

The split is that of the papers: 12 months of training, 4 of validation and 4 of test (8640,
2880 and 2880 hours), seven channels standardised by the training months, horizon 96. The
error is the mean over all 2785 windows of the test months, whose contexts reach back into the
validation months as the papers' do.
"""

import argparse
import csv
import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.models import MODEL_REGISTRY
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.base.saved import Progress

DATA = Path(__file__).parents[2] / "shared" / "data" / "ETTh1.csv.gz"
TRAIN, VALIDATION, TEST = 8640, 2880, 2880
HORIZON = 96
TOLERANCE = 1.03  # of the paper's error
AT_ONCE = 256  # windows in a call
HEAD = (
    f"{'':<10} {'MSE':>6} {'MAE':>6} {'paper':>7} {'MAE':>7} {'MSE off':>8} {'fit wall/CPU s':>14}"
)


@dataclass(frozen=True)
class Run:
    """How one model is trained, and what its paper says.

    Attributes:
        paper: MSE and MAE, where there are any of this task.
        options: of the model's own configuration, where they are not its defaults.
        calendar: hour, weekday, day and month as covariates that are known ahead.
    """

    paper: tuple[float, float | None] | None = None
    source: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    calendar: bool = False


RUNS = {
    "patchtst": Run((0.375, 0.399), "PatchTST/42, Nie et al. 2023, table 3"),
    "tsmixer": Run((0.361, 0.392), "TSMixer, Chen et al. 2023, table 2"),
    "tide": Run((0.375, 0.398), "TiDE, Das et al. 2023, table 2"),
    "lstm": Run(
        options={
            "context_length": 512,
            "segment_length": 24,
            "channel_mode": "independent",
            "dropout": 0.3,
            "learning_rate": 5e-4,
            "batch_size": 64,
            "max_epochs": 6,
        }
    ),
    "ts2vec": Run(options={"stride": 4}),  # its paper has horizons 48 and 168: 0.629 and 0.755
}


def read(path: Path) -> tuple[np.ndarray, tuple[str, ...], np.datetime64]:
    """Read the values [C, T], the names of the channels, and the time of the first row."""
    with gzip.open(path, "rt") as file:
        header, *rows = list(csv.reader(file))
    values = np.array([row[1:] for row in rows], dtype=float).T
    return values, tuple(header[1:]), np.datetime64(rows[0][0], "s")


def standardised(values: np.ndarray) -> np.ndarray:
    """Standardise each channel by its training months."""
    known = values[:, :TRAIN]
    return (values - known.mean(axis=1, keepdims=True)) / known.std(axis=1, keepdims=True)


class Task:
    """The series of the benchmark, for a model that reads contexts of one length."""

    def __init__(self, path: Path, context_length: int, *, calendar: bool) -> None:
        values, self._channels, self._start = read(path)
        self.values = standardised(values)
        self._context_length = context_length
        self._freq = Frequency.parse("h")
        self._calendar = _calendar(self._start, values.shape[1]) if calendar else {}

    def train(self) -> Series:
        return self._series(0, TRAIN)

    def validation(self) -> Series:
        return self._series(TRAIN - self._context_length, TRAIN + VALIDATION)

    def windows(self) -> Iterator[tuple[Series, np.ndarray]]:
        """Give every context of the test months and the 96 hours after it."""
        first = TRAIN + VALIDATION
        for now in range(first, first + TEST - HORIZON + 1):
            series = self._series(now - self._context_length, now)
            yield series, self.values[:, now : now + HORIZON]

    def _series(self, start: int, end: int) -> Series:
        return Series(
            target=self.values[:, start:end],
            item_id="ETTh1",
            channels=self._channels,
            start=self._start + np.timedelta64(start, "h"),
            freq=self._freq,
            past_covariates={name: row[start:end] for name, row in self._calendar.items()},
            future_covariates={
                name: row[end : end + HORIZON] for name, row in self._calendar.items()
            },
        )


def _calendar(start: np.datetime64, steps: int) -> dict[str, np.ndarray]:
    """Place each hour in the day, week, month and year, from -½ to ½."""
    times = start + np.arange(steps).astype("timedelta64[h]")
    days = times.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    return {
        "hour": (times - days).astype(int) / 3600 / 23 - 0.5,
        "weekday": (days.astype(int) + 3) % 7 / 6 - 0.5,
        "day": (days - months).astype(int) / 30 - 0.5,
        "month": months.astype(int) % 12 / 11 - 0.5,
    }


def errors(model: BaseTimeSeriesModel, task: Task) -> tuple[float, float]:
    """Measure MSE and MAE over all windows, channels and steps."""
    asked = ForecastTask(HORIZON, quantile_levels=())
    squared, absolute = [], []
    windows = list(task.windows())
    for first in range(0, len(windows), AT_ONCE):
        some = windows[first : first + AT_ONCE]
        forecasts = model.predict([series for series, _ in some], asked)
        for (_, actual), forecast in zip(some, forecasts, strict=True):
            squared.append(np.mean((forecast.mean - actual) ** 2))
            absolute.append(np.mean(np.abs(forecast.mean - actual)))
    return float(np.mean(squared)), float(np.mean(absolute))


def tell(progress: Progress) -> None:
    if progress.validation_loss is not None:
        print(
            f"  epoch {progress.epoch}, step {progress.step}: loss {progress.loss or 0:.4f},"
            f" validation {progress.validation_loss:.4f}",
            flush=True,
        )


def measure(model_id: str, options: dict[str, Any], path: Path, save: Path | None) -> str:
    """Train and test one model; one line of the table."""
    run, spec = RUNS[model_id], MODEL_REGISTRY[model_id]
    config = spec.config(**({"horizon": HORIZON} | run.options | options))
    task = Task(path, config.context_length or 512, calendar=run.calendar)
    model = spec.model_class()(config)
    started = Clock()
    model.fit([task.train()], [task.validation()], on_progress=tell, data_reference=path.name)
    fit = started.read()
    mse, mae = errors(model, task)
    if save is not None:
        model.save_model(save / model_id)
    return line(model_id, (mse, mae), run, fit)


class Clock:
    """Seconds on the wall, and of the processor: on a busy machine only the latter compare."""

    def __init__(self) -> None:
        self._started = time.monotonic(), time.process_time()

    def read(self) -> str:
        wall, processor = self._started
        return f"{time.monotonic() - wall:.0f} / {time.process_time() - processor:.0f}"


def line(model_id: str, reached: tuple[float, float], run: Run, seconds: str) -> str:
    there = f"{model_id:<10} {reached[0]:.4f} {reached[1]:.4f}"
    if run.paper is None:
        return f"{there} {'-':>7} {'-':>7} {'-':>8} {seconds:>14}"
    mse, mae = run.paper
    verdict = "within" if reached[0] <= TOLERANCE * mse else "beyond"
    figures = f"{mse:>7.3f} {'-' if mae is None else f'{mae:.3f}':>7}"
    return (
        f"{there} {figures} {reached[0] / mse - 1:>+8.1%} {seconds:>14}"
        f"  {verdict} 3 % of {run.source}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    parser.add_argument("--threads", type=int, help="of torch; all cores where not given")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--save", type=Path, help="folder for the trained models")
    given = parser.parse_args()
    if given.threads:
        import torch

        torch.set_num_threads(given.threads)
    options = dict(_option(text) for text in given.set)
    lines = []
    for model_id in given.models:
        print(model_id, flush=True)
        lines.append(measure(model_id, options, given.data, given.save))
        print(lines[-1], flush=True)
    print(f"\n{HEAD}")
    print("\n".join(lines))


def _option(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


if __name__ == "__main__":
    main()
