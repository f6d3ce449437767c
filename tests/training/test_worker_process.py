"""The process of a training, started as the gateway starts it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from forecast.core.types import Series
from forecast.jobs.series_files import write_series
from forecast.training.plan import SERIES, FitOrder, FitPlan, Validation, write_order

pytest.importorskip("torch", reason="needs the networks extra")

CONFIG = {
    "device": "cpu",
    "context_length": 12,
    "horizon": 4,
    "segment_length": 4,
    "hidden_dim": 8,
    "max_epochs": 100_000,
    "early_stopping": None,
}


@pytest.fixture
def start(tmp_path):
    started = []

    def run(**config):
        plan = FitPlan(config=CONFIG | config, validation=Validation(horizons=0))
        target = tmp_path / "trained" / "one"
        write_order(tmp_path, FitOrder(model_id="lstm", plan=plan, weights=None, target=target))
        series = Series(np.sin(np.arange(200.0) * 2 * np.pi / 12)[None])
        write_series(tmp_path / SERIES, [series])
        process = subprocess.Popen(
            [sys.executable, "-m", "forecast.training.worker_main", str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
            text=True,
        )
        started.append(process)
        process.stdin.write("{}\n")
        process.stdin.flush()
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_it_ends_when_whoever_started_it_is_gone(start, tmp_path):
    process = start()
    assert "progress" in json.loads(process.stdout.readline())
    process.stdin.close()
    process.stdin = None
    assert process.wait(60) == 1
    assert not (tmp_path / "trained").exists()


def test_it_tells_the_metrics_and_leaves_a_whole_model(start, tmp_path):
    process = start(max_epochs=None, max_steps=60)
    answers = [json.loads(line) for line in process.stdout]
    assert process.wait(60) == 0
    assert answers[-2]["progress"]["step"] == 60
    assert list(answers[-1]) == ["done"]
    assert {path.name for path in (tmp_path / "trained" / "one").iterdir()} == {
        "config.json", "training_metadata.json", "weights",
    }  # fmt: skip
