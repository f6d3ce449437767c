"""Walk-forward forecasts of weekly closes of 20 companies: LSTM, PatchTST and momentum.

    python -m benchmarks.walkforward                          # 2012 to 2022, about 10 minutes
    python -m benchmarks.walkforward --first 2020 --last 2020 --models lstm    # a short one

Each model is trained as its job trains it: a current one, and a snapshot of 31 December of every
year before the first that is forecast. `build_forecast_features` then forecasts each week's
relative change over the next 4 with the snapshot of the year before. Nothing was tuned on what is
forecast here: of the options below, PatchTST's learning rate and passes were tried on 2010.
"""

import argparse
import gzip
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forecast.core.machine import set_library_variables
from forecast.core.types import Series
from forecast.jobs.plans import JobPlan, write_plan
from forecast.jobs.records import JobOutcome
from forecast.store.config import StoreConfig
from forecast.store.hub_settings import HubSettings
from forecast.store.sources import SourceResolver
from forecast.store.versions import ModelStore
from forecast.training.child import ModelProcess
from forecast.training.forecasting import context_outside_a_job
from forecast.training.plan import Snapshots, TrainingPlan, Validation
from forecast.training.train import run_training
from forecast.training.trainer import Trainer
from forecast.training.walk_forward import (
    ForecastFeatures,
    PriceGrid,
    WalkForward,
    build_forecast_features,
    relative_change,
)

DATA = Path(__file__).parents[2] / "shared" / "data" / "sp500_20_daily.csv.gz"
HORIZON = 4  # weeks
BOOTSTRAP_YEARS = 4  # the data begins so many years before the first that is forecast
CONTEXT = 52
COMMON = {"context_length": CONTEXT, "horizon": HORIZON, "device": "cpu", "seed": 1, "stride": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "lstm": COMMON
    | {
        "segment_length": 4,
        "hidden_dim": 32,
        "loss_unit": "context",
        "batch_size": 128,
        "max_epochs": 6,
        "early_stopping": 2,
    },
    "patchtst": COMMON
    | {
        "patch_length": 8,
        "patch_stride": 4,
        "loss": "nll",
        "batch_size": 128,
        "learning_rate": 1e-3,
        "max_epochs": 15,
        "early_stopping": 4,
    },
}


@dataclass(frozen=True)
class Prices:
    """Weekly closes [T, N], of Fridays [T]."""

    closes: np.ndarray
    dates: np.ndarray
    names: tuple[str, ...]

    def series(self) -> list[Series]:
        """Make a series of each company."""
        return list(PriceGrid.of(self.closes, self.dates, self.names).items)


def read(path: Path, first: int, last: int) -> Prices:
    """Read daily closes, and keep the last of each week of the years asked for."""
    with gzip.open(path, "rt") as file:
        daily = pd.read_csv(file, index_col=0, parse_dates=True)
    weekly = daily.resample("W-FRI").last().loc[str(first) : str(last)]
    return Prices(weekly.to_numpy(), weekly.index.to_numpy(), tuple(weekly.columns))


def train(model_id: str, prices: Prices, trainer: Trainer, folder: Path) -> JobOutcome:
    """Train the current model and every year's, as a job does."""
    plan = TrainingPlan(
        config=CONFIGS[model_id],
        validation=Validation(share=0.1),
        snapshots=Snapshots(bootstrap_years=BOOTSTRAP_YEARS),
        promote="always",
    )
    job = JobPlan(kind=plan.kind, model_id=model_id, work=plan.model_dump(mode="json"))
    write_plan(folder, job, prices.series())
    outcome = run_training(job, context_outside_a_job(folder, lambda: False), trainer)
    if outcome.state != "succeeded":
        raise SystemExit(f"{model_id} was not trained: {outcome.error}")
    return outcome


def measure(features: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """Compare expected with real relative changes, where both are known: [T, N]."""
    there = ~(np.isnan(features) | np.isnan(actual))
    expected, came = features[there], actual[there]
    moves = (expected != 0) & (came != 0)
    return {
        "mae": float(np.abs(expected - came).mean()),
        "correlation": _correlation(expected, came),
        "rank_ic": _mean_rank_correlation(features, actual),
        "hit_rate": _share((np.sign(expected) == np.sign(came))[moves]),
    }


def _share(right: np.ndarray) -> float:
    return float(right.mean()) if right.size else float("nan")


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1]) if one.std() and other.std() else float("nan")


def _mean_rank_correlation(features: np.ndarray, actual: np.ndarray) -> float:
    """Correlate the ranks of the companies within each week, and average over the weeks."""
    ranks = [pd.DataFrame(values).rank(axis=1) for values in (features, actual)]
    found = ranks[0].corrwith(ranks[1], axis=1) if np.nanstd(features) else pd.Series(dtype=float)
    return float(found.mean())


def table(rows: dict[str, np.ndarray], actual: np.ndarray) -> str:
    """Write the errors side by side."""
    lines = [
        "| expected change over 4 weeks | MAE | correlation | rank IC | hit rate |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, features in rows.items():
        found = measure(features, actual)
        cells = [
            f"{found['mae']:.4f}",
            *(_signed(found[key]) for key in ("correlation", "rank_ic")),
        ]
        hits = "–" if np.isnan(found["hit_rate"]) else f"{found['hit_rate']:.1%}"
        lines.append(f"| {' | '.join([name, *cells, hits])} |")
    return "\n".join(lines)


def _signed(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:+.3f}"


def process(threads: int) -> ModelProcess:
    """Run models with this interpreter."""
    environment = dict(os.environ)
    set_library_variables(environment, threads)
    return ModelProcess(Path(sys.executable), environment)


def run(model_id: str, prices: Prices, how: WalkForward, home: Path) -> ForecastFeatures:
    """Train, forecast, and tell how long each took."""
    hub = HubSettings(hf_endpoint=None, hf_token=None, hf_offline=True, hf_cache=None)
    sources = SourceResolver(
        local_roots=[], cache=home / "cache", hub=hub, mlflow_tracking_uri=None, store=how.store
    )
    trainer = Trainer(how.store, sources, how.process)
    outcome = train(model_id, prices, trainer, home / f"job-{model_id}")
    for window in outcome.windows:
        print(f"  {model_id} {window.window}: {window.seconds:.1f} s, {window.version}", flush=True)
    again = time.monotonic()
    message = train(model_id, prices, trainer, home / f"again-{model_id}").message
    print(f"  {model_id} once more: {time.monotonic() - again:.1f} s, {message}", flush=True)
    began = time.monotonic()
    features = build_forecast_features(prices.closes, prices.dates, prices.names, model_id, how)
    seconds = [window.seconds or 0.0 for window in outcome.windows if window.window != "current"]
    print(
        f"{model_id}: {np.mean(seconds):.1f} s a snapshot (longest {max(seconds):.1f}),"
        f" {time.monotonic() - began:.1f} s for the features",
        flush=True,
    )
    return features


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--first", type=int, default=2012, help="first year that is forecast")
    parser.add_argument("--last", type=int, default=2022)
    parser.add_argument("--threads", type=int, default=0, help="a process; 0: one a core")
    parser.add_argument("--workers", type=int, default=1, help="years forecast at a time")
    parser.add_argument("--data", type=Path, default=DATA)
    given = parser.parse_args()
    prices = read(given.data, given.first - BOOTSTRAP_YEARS, given.last)
    actual = np.full(prices.closes.shape, np.nan)
    actual[:-HORIZON] = relative_change(prices.closes[HORIZON:], prices.closes[:-HORIZON])
    asked = prices.dates >= np.datetime64(str(given.first))
    rows = {"no change": np.zeros_like(actual)}
    rows["4-week momentum"] = PriceGrid.of(prices.closes, prices.dates, prices.names).momentum()
    with tempfile.TemporaryDirectory(prefix="walkforward-") as name:
        options = process(given.threads)
        how = WalkForward(
            store=ModelStore(StoreConfig(root=Path(name, "models"))),
            process=lambda _: options,
            horizon=HORIZON,
            bootstrap_years=BOOTSTRAP_YEARS,
            context=CONTEXT,
            workers=given.workers,
            config={"device": "cpu"},
        )
        for model_id in given.models:
            features = run(model_id, prices, how, Path(name))
            used = {source for source, row in zip(features.sources, asked, strict=True) if row}
            rows[f"`{model_id}`, snapshots"] = features.values
            print(f"  rows of {given.first} to {given.last} are from: {', '.join(sorted(used))}")
    print(f"\n{len(prices.dates[asked])} weeks, {len(prices.names)} companies")
    print(table({name: values[asked] for name, values in rows.items()}, actual[asked]))


if __name__ == "__main__":
    main()
