"""Backtests, with real weights in processes of their own."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow.parquet as pq
import pytest

from forecast.core import accuracy
from forecast.core.errors import FileMissing, LooksAhead, ModelNotReady, VersionNotFound
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.jobs.context import JobContext, Stopped
from forecast.jobs.plans import write_plan
from forecast.models import MODEL_REGISTRY
from forecast.store.hub_settings import HubSettings
from forecast.store.sources import SourceResolver
from forecast.training.backtest import run_backtest
from forecast.training.plan import BacktestPlan, Validation
from forecast.training.results import BASELINES, seasonal_naive
from forecast.training.trainer import Trainer
from tests.training.fit_helpers import job_plan
from tests.training.stored_models import process_of, publish, publish_snapshot, store_at

pytest.importorskip("torch", reason="needs the networks extra")

WEEKLY = Frequency.parse("W-FRI")
START = np.datetime64("2018-01-05", "s")
HORIZON = 3
PLAN = BacktestPlan(config={"device": "cpu"}, horizon=HORIZON, windows=4, step=13, refit="yearly")


class Killed(BaseException):
    """The worker is gone, as by a kill: nothing of ours catches this."""


class Worker:
    """Runs jobs as a worker does: what a step said is remembered, as JSON.

    Attributes:
        begun: how often each step was begun.
        dies_in: the step whose result is lost, once.
    """

    def __init__(self, folder, store):
        hub = HubSettings(hf_endpoint=None, hf_token=None, hf_offline=True, hf_cache=None)
        sources = SourceResolver(
            local_roots=[folder / "local"],
            cache=folder / "cache",
            hub=hub,
            mlflow_tracking_uri=None,
            store=store,
        )
        self.trainer = Trainer(store, sources, process_of)
        self.folder = folder / "job"
        self.said, self.begun, self.reports = {}, Counter(), []
        self.dies_in, self.stops = None, False
        self.context = JobContext(
            "bt_1", self.folder, self.step, self.reports.append, lambda: self.stops
        )

    def step(self, name, work):
        if name not in self.said:
            self.begun[name] += 1
            result = json.dumps(work())
            if name == self.dies_in:
                self.dies_in = None
                raise Killed
            self.said[name] = result
        return json.loads(self.said[name])

    def run(self, plan, series=None, model_id="lstm"):
        job = job_plan(plan, model_id)
        if series is not None:
            write_plan(self.folder, job, series)
        return run_backtest(job, self.context, self.trainer)

    def result(self):
        return json.loads((self.folder / "result.json").read_bytes())

    def table(self):
        return pq.read_table(self.folder / "result.parquet").to_pandas()


def weekly(seed: int, length: int = 160, item_id: str = "0", **given) -> Series:
    steps = np.random.default_rng(seed).normal(0, 1, length)
    return Series(50 + steps.cumsum()[None], item_id=item_id, start=START, freq=WEEKLY, **given)


SERIES = [weekly(1, item_id="a"), weekly(2, item_id="b")]  # to 22 January 2021


@pytest.fixture
def store(tmp_path):
    return store_at(tmp_path / "models")


@pytest.fixture
def worker(tmp_path, store):
    return Worker(tmp_path, store)


def test_yearly_windows_use_the_snapshot_of_the_year_before(worker, store):
    snapshots = {year: publish_snapshot(store, year) for year in (2018, 2019)}
    outcome = worker.run(PLAN, SERIES)
    result = worker.result()

    assert outcome.state == "succeeded"
    assert [one["origin"] for one in result["per_window"]] == [
        "2020-04-03T00:00:00", "2020-07-03T00:00:00", "2020-10-02T00:00:00", "2021-01-01T00:00:00",
    ]  # fmt: skip
    assert [one["version"] for one in result["per_window"]] == ["snapshot_2019-12-31"] * 4
    assert {one["sha256"] for one in result["per_window"]} == {snapshots[2019].sha256}
    assert {one["cutoff"][:10] for one in result["per_window"]} == {"2019-12-31"}
    (earlier,) = result["warnings"]
    assert "snapshot_2020-12-31" in earlier
    assert set(worker.begun) == {
        "model 2020-04-03", "forecast 2020-04-03", "model 2021-01-01", "forecast 2021-01-01",
        "result",
    }  # fmt: skip
    check_table(worker, result, snapshots[2019])
    check_measures(worker, result)
    assert outcome.metrics["mase"] == result["metrics"]["mase"]
    best = result["baselines"][result["best_baseline"]]
    assert outcome.metrics["baseline_mase"] == best["mase"]
    assert result["best_baseline"].replace("_", " ") in outcome.message
    assert worker.reports[-1].phase == "measuring"
    assert any(report.window_number == 4 for report in worker.reports)


def check_table(worker, result, version):
    """The forecasts are those of the weights named, from what was known at the origin."""
    from forecast.models.lstm.model import LstmModel

    table = worker.table()
    assert len(table) == 2 * 4 * HORIZON
    model = LstmModel.load_model(version.path, device="cpu")
    task = ForecastTask(HORIZON, (0.1, 0.5, 0.9))
    kept = 160 - HORIZON - 13
    past = replace(SERIES[1], target=SERIES[1].target[:, :kept])
    (expected,) = model.predict([past], task)
    rows = table[(table["item_id"] == "b") & (table["window"] == 3)]
    np.testing.assert_allclose(rows["mean"], expected.mean[0], rtol=1e-5)
    np.testing.assert_allclose(rows["0.9"], expected.quantiles[0, 2], rtol=1e-5)
    np.testing.assert_array_equal(rows["actual"], SERIES[1].target[0, kept : kept + HORIZON])
    np.testing.assert_array_equal(rows["seasonal_naive"], seasonal_naive(past, task).mean[0])
    assert [str(time)[:10] for time in rows["timestamp"]] == [
        "2020-10-09", "2020-10-16", "2020-10-23",
    ]  # fmt: skip


def check_measures(worker, result):
    """Measured anew, from the table."""
    table = worker.table()
    for column in ("mean", *BASELINES):

        def mae(found, column=column):
            own = found["metrics"] if column == "mean" else found["baselines"][column]
            return own["mae"]

        error = (table["actual"] - table[column]).abs()
        assert mae(result) == pytest.approx(error.mean())
        by_step = error.groupby(table["step"]).mean().tolist()
        assert [mae(one) for one in result["per_step"]] == pytest.approx(by_step)
        by_item = error.groupby(table["item_id"]).mean().tolist()
        assert [mae(one) for one in result["per_item"]] == pytest.approx(by_item)
        by_window = error.groupby(table["window"]).mean().tolist()
        assert [mae(one) for one in result["per_window"]] == pytest.approx(by_window)
    first = table[(table["window"] == 1) & (table["item_id"] == "a")]
    past = SERIES[0].target[0, : 160 - HORIZON - 39]
    mase = accuracy.mase(first["actual"].to_numpy(), first["mean"].to_numpy(), past, 52)
    other = table[(table["window"] == 1) & (table["item_id"] == "b")]
    past = SERIES[1].target[0, : 160 - HORIZON - 39]
    mase += accuracy.mase(other["actual"].to_numpy(), other["mean"].to_numpy(), past, 52)
    assert result["per_window"][0]["metrics"]["mase"] == pytest.approx(mase / 2)
    assert 0 <= result["metrics"]["coverage_80"] <= 1


def test_what_comes_after_an_origin_changes_nothing_of_its_forecast(tmp_path, store):
    publish_snapshot(store, 2018)
    plan = PLAN.model_copy(update={"windows": 3})
    changed = [replace(one, target=one.target.copy()) for one in SERIES]
    origin = 160 - HORIZON - 13  # of the second window
    for one in changed:
        one.target[:, origin:] = np.random.default_rng(9).uniform(-1e3, 1e3, 160 - origin)
    tables = []
    for name, series in (("one", SERIES), ("other", changed)):
        worker = Worker(tmp_path / name, store)
        worker.run(plan, series)
        tables.append(worker.table())
    known = tables[0]["window"] <= 2
    for column in ("mean", *BASELINES, "0.1", "0.9"):
        np.testing.assert_array_equal(tables[0][column][known], tables[1][column][known])
    assert (tables[0]["mean"][~known] != tables[1]["mean"][~known]).all()


def test_a_worker_that_dies_repeats_no_fit_and_publishes_nothing(worker, store):
    config = {"device": "cpu", "context_length": 16, "horizon": HORIZON, "segment_length": 4}
    plan = PLAN.model_copy(
        update={
            "config": config | {"hidden_dim": 8, "max_steps": 5},
            "refit": "every_n",
            "every": 2,
            "validation": Validation(horizons=1),
        }
    )
    worker.dies_in = "model 2020-10-02"  # trained, and killed before it could say so
    with pytest.raises(Killed):
        worker.run(plan, SERIES)
    trained = {
        folder.name: (folder / "training_metadata.json").stat().st_mtime_ns
        for folder in (worker.folder / "work" / "fits").iterdir()
    }
    assert set(trained) == {"0001", "0003"}
    assert worker.run(plan).state == "succeeded"
    for name, at in trained.items():
        kept = worker.folder / "work" / "fits" / name / "training_metadata.json"
        assert kept.stat().st_mtime_ns == at
        record = json.loads(kept.read_bytes())
        origin = {"0001": "2020-04-03", "0003": "2020-10-02"}[name]
        assert record["cutoff"].startswith(origin)
    assert worker.begun["forecast 2020-04-03"] == 1
    result = worker.result()
    assert [one["cutoff"][:10] for one in result["per_window"]] == (
        ["2020-04-03"] * 2 + ["2020-10-02"] * 2
    )
    assert all(one["fitted"] and one["version"] is None for one in result["per_window"])
    assert len({one["sha256"] for one in result["per_window"]}) == 2
    assert store.model("lstm").versions() == []
    best = result["baselines"][result["best_baseline"]]
    assert worker.run(plan).metrics == result["metrics"] | {
        f"baseline_{name}": value for name, value in best.items()
    }


def test_weights_that_have_seen_what_is_forecast_are_refused_unless_asked_for(worker, store):
    publish(store, "v1.0", datetime(2020, 6, 1, tzinfo=UTC))
    store.model("lstm").aliases.set("current", "v1.0", who="test", why="the only one")
    plan = PLAN.model_copy(update={"refit": "never"})
    with pytest.raises(LooksAhead, match="2020-06-01.*after 2020-04-03"):
        worker.run(plan, SERIES)
    later = plan.model_copy(update={"windows": 2})  # from October on it has seen nothing
    worker.said.clear()
    assert worker.run(later).warnings == ()
    worker.said.clear()
    outcome = worker.run(plan.model_copy(update={"strict": False}))
    (warning,) = outcome.warnings
    assert "2020-06-01" in warning
    assert worker.result()["per_window"][0]["version"] == "v1.0"


def test_without_times_nothing_says_what_weights_have_seen(worker, store):
    publish(store, "v1.0", datetime(2020, 6, 1, tzinfo=UTC))
    timeless = [replace(one, start=None) for one in SERIES]
    plan = PLAN.model_copy(update={"refit": "never", "source": "store:v1.0", "windows": 1})
    with pytest.raises(LooksAhead, match="no times"):
        worker.run(plan, timeless)
    worker.said.clear()
    outcome = worker.run(plan.model_copy(update={"strict": False}))
    assert any("no times" in warning for warning in outcome.warnings)
    table = worker.table()
    assert table["timestamp"].isna().all()
    assert table["mean"].notna().all()


def test_weights_from_elsewhere_are_refused_or_used_with_a_warning(worker, tmp_path):
    MODEL_REGISTRY["lstm"].model_class().tiny().save_model(tmp_path / "local" / "theirs")
    changes = {"refit": "never", "source": "local:theirs", "windows": 1}
    with pytest.raises(LooksAhead, match="comes from local:theirs, which may have seen"):
        worker.run(PLAN.model_copy(update=changes), SERIES)
    worker.said.clear()
    outcome = worker.run(PLAN.model_copy(update=changes | {"strict": False}))
    assert [warning for warning in outcome.warnings if "comes from local:theirs" in warning]
    (window,) = worker.result()["per_window"]
    assert (window["source"], window["cutoff"]) == ("local:theirs", None)


def test_a_model_without_weights_needs_none(worker):
    pytest.importorskip("statsforecast")
    changes = {"config": {}, "refit": "never", "windows": 1}
    timeless = [replace(one, start=None, freq=None) for one in SERIES]
    outcome = worker.run(PLAN.model_copy(update=changes), timeless, "statistical")
    assert outcome.warnings == ()
    assert worker.result()["per_window"][0]["origin"] is None
    assert worker.table()["mean"].notna().all()


def test_a_horizon_without_any_value_is_told_to_measure_nothing(worker):
    pytest.importorskip("statsforecast")
    changes = {"config": {}, "refit": "never", "windows": 1}
    silent = weekly(3, item_id="c")
    silent.target[:, -10:] = np.nan
    outcome = worker.run(PLAN.model_copy(update=changes), [SERIES[0], silent], "statistical")
    assert outcome.warnings == (
        "1 of 2 pairs of a window and a series measure nothing: no value of the target is observed"
        " in the horizon",
    )
    assert outcome.metrics["mae"] > 0


def test_a_model_that_was_never_trained_says_what_to_do(worker):
    with pytest.raises(ModelNotReady, match="train one"):
        worker.run(PLAN.model_copy(update={"refit": "never"}), SERIES)


def test_without_any_snapshot_it_says_what_to_do(worker):
    with pytest.raises(VersionNotFound, match="train snapshots"):
        worker.run(PLAN, SERIES)


def test_it_ends_where_somebody_wants_it_to(worker, store):
    publish_snapshot(store, 2018)
    worker.stops = True
    with pytest.raises(Stopped):
        worker.run(PLAN, SERIES)
    assert not (worker.folder / "result.json").exists()


def test_forecasts_that_are_gone_are_told(worker, store):
    import shutil

    publish_snapshot(store, 2018)
    worker.dies_in = "forecast 2021-01-01"
    with pytest.raises(Killed):
        worker.run(PLAN, SERIES)
    worker.said["forecast 2021-01-01"] = '{"result": {}}'
    shutil.rmtree(worker.folder / "work")
    with pytest.raises(FileMissing, match="retry"):
        worker.run(PLAN)
