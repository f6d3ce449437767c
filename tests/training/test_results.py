"""What a backtest says of a model, and of the baselines beside it."""

import json

import numpy as np
import pytest

from forecast.core.frequency import Frequency
from forecast.core.types import Forecast, ForecastTask, Series
from forecast.training.forecasting import origins_of
from forecast.training.past_models import ChosenModel
from forecast.training.plan import BacktestPlan
from forecast.training.results import (
    BASELINES,
    document,
    historic_average,
    pair_of,
    random_walk,
    summary,
)

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
TASK = ForecastTask(3, LEVELS)
PLAN = BacktestPlan(horizon=3, windows=4, step=3)
MODELS = dict.fromkeys(range(1, 5), ChosenModel())


def monthly(values: np.ndarray, item_id: str) -> Series:
    start, freq = np.datetime64("2019-01-01", "s"), Frequency.parse("MS")
    return Series(np.asarray(values, dtype=float)[None], item_id=item_id, start=start, freq=freq)


def result_of(series: list[Series], model) -> dict:
    pairs = [
        pair_of(origin, part, model(part.past, TASK), TASK)
        for origin in origins_of(series, PLAN)
        for part in origin.parts
    ]
    found = document("bt_1", "lstm", PLAN, pairs, MODELS)
    return json.loads(json.dumps(found))


def just_worse(series: Series, task: ForecastTask) -> Forecast:
    """No change, and a little: as a network that has learned nothing."""
    walk = random_walk(series, task)
    return Forecast(walk.mean + 1.0, walk.quantiles + 1.0, walk.quantile_levels)


def test_a_model_that_loses_to_no_change_is_told_so():
    rng = np.random.default_rng(0)
    walks = [monthly(50 + rng.normal(size=60).cumsum(), name) for name in "ab"]
    found = result_of(walks, just_worse)
    assert found["baselines"].keys() == {"random_walk", "seasonal_naive", "historic_average"}
    assert found["best_baseline"] == "random_walk"
    assert found["baselines"]["random_walk"]["mase"] < found["metrics"]["mase"]
    assert "worse: the best baseline, the random walk, has" in summary(found)


def test_whole_windows_steps_and_items_are_measured_alike():
    rng = np.random.default_rng(1)
    large = 1000 + 100 * rng.normal(size=60)
    small = rng.normal(size=60)
    small[55] = np.nan
    found = result_of([monthly(large, "large"), monthly(small, "small")], historic_average)
    assert {"wql", "mean_item_wql", "coverage_95", "coverage_80", "msis_95", "msis_80"} <= set(
        found["metrics"]
    )
    assert found["metrics"] == found["baselines"]["historic_average"]
    for parts in ("per_window", "per_step", "per_item"):
        assert all(one["metrics"].keys() == found["metrics"].keys() for one in found[parts])
    counted = np.array([8, 7, 8])  # values of each step, of which one is missing
    squares = np.array([one["metrics"]["rmse"] for one in found["per_step"]]) ** 2
    assert found["metrics"]["rmse"] == pytest.approx(
        np.sqrt((squares * counted).sum() / counted.sum())
    )
    assert found["metrics"]["wql"] < found["metrics"]["mean_item_wql"] / 2


def test_a_constant_has_no_mase_and_nothing_is_made_up():
    found = result_of([monthly(np.full(48, 4.0), "flat")], random_walk)
    assert found["metrics"]["mae"] == 0
    assert "mase" not in found["metrics"]
    assert all("mase" not in one for one in found["baselines"].values())
    assert found["best_baseline"] in BASELINES
    assert summary(found).startswith("MAE 0 over 4 windows; the best baseline")
