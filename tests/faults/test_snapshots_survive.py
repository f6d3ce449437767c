"""The flagship, whole: yearly snapshots over HTTP, a worker killed in the second, "as of" after."""

import gzip
import json
import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pandas as pd
import psutil
import pytest

from tests.api.serving import AUTH, KEY
from tests.test_main import running

pytest.importorskip("torch", reason="needs the networks extra")

DATA = Path(__file__).parents[3] / "shared" / "data" / "sp500_20_daily.csv.gz"
PATIENCE_S = 200.0
JOBS = "/forecast/v1/jobs"
ITEMS = 3
YEARS = ("2018-12-31", "2019-12-31", "2020-12-31")
SMALL = {
    "lstm": {
        "context_length": 16,
        "horizon": 4,
        "segment_length": 4,
        "hidden_dim": 8,
        "max_epochs": 2,
        "loss_unit": "context",
    },
    "patchtst": {
        "context_length": 24,
        "horizon": 4,
        "patch_length": 8,
        "patch_stride": 4,
        "hidden_dim": 8,
        "ffn_dim": 16,
        "num_layers": 1,
        "max_epochs": 2,
    },
}

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="needs the shared price data")


def weekly_prices() -> pd.DataFrame:
    with gzip.open(DATA, "rt") as file:
        daily = pd.read_csv(file, index_col=0, parse_dates=True)
    weekly = daily.resample("W-FRI").last().loc["2015":"2021-06-30"]
    return weekly.iloc[:, :ITEMS].round(4)


def table(prices: pd.DataFrame) -> dict[str, object]:
    long = (
        prices.rename_axis("date").reset_index().melt("date", var_name="item", value_name="price")
    )
    data = {
        "date": long["date"].dt.strftime("%Y-%m-%d").tolist(),
        "item": long["item"].tolist(),
        "price": long["price"].tolist(),
    }
    return {"data": data, "schema": {"timestamp": "date", "item_id": "item", "target": "price"}}


def request(model_id: str) -> dict[str, object]:
    snapshots = {"yearly": True, "first": 2018, "last": 2020}
    config = {"device": "cpu", "seed": 1} | SMALL[model_id]
    return table(weekly_prices()) | {
        "config": config,
        "snapshots": snapshots,
        "data_reference": "weekly closes",
    }


@contextmanager
def gateway(home: Path):
    settings = {
        "FORECAST_HOME": str(home),
        "FORECAST_API_KEY": KEY,
        "FORECAST_MODELS": "lstm,patchtst",
        "FORECAST_PORT": "0",
        "FORECAST_REPLICAS": "1",
        "FORECAST_TRAINING_THREADS": "1",
        "FORECAST_WORKER_LOST_S": "5",
        "FORECAST_ACCESS_LOG": "false",  # nobody reads the log, and a full pipe would stop it
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    with (
        running("forecast.main", **settings) as process,
        httpx2.Client(base_url=process.url(), headers=AUTH, timeout=60) as client,
    ):
        yield client


def wait_for(client, job_id: str, condition) -> dict:
    give_up = time.monotonic() + PATIENCE_S
    while True:
        job = client.get(f"{JOBS}/{job_id}").json()
        if condition(job):
            return job
        assert job["state"] not in ("failed", "cancelled"), job
        assert time.monotonic() < give_up, job
        time.sleep(0.05)


def workers_of(home: Path) -> list[psutil.Process]:
    """The workers of this gateway, found by the home in their environment."""
    return [
        process
        for process in psutil.process_iter()
        if "forecast.worker" in _command(process) and _home(process) == str(home)
    ]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _home(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("FORECAST_HOME")
    except psutil.Error:
        return None


def windows(job: dict) -> list[str]:
    return [window["window"] for window in job["windows"]]


@pytest.mark.slow
@pytest.mark.parametrize("model_id", ["lstm", "patchtst"])
def test_a_killed_worker_goes_on_where_it_was_and_each_year_is_trained_once(model_id, tmp_path):
    home = tmp_path / "home"
    snapshots = home / "models" / model_id / "snapshots"
    with gateway(home) as client:
        begun = client.post(
            f"/forecast/v1/{model_id}/training",
            json=request(model_id),
            headers={"Idempotency-Key": "the-years"},
        )
        assert begun.status_code == 202, begun.text
        job_id = begun.json()["id"]

        wait_for(client, job_id, lambda job: YEARS[0] in windows(job) and is_in(job, YEARS[1]))
        first = (snapshots / f"snapshot_{YEARS[0]}" / "manifest.json").read_bytes()
        (worker,) = workers_of(home)
        os.kill(worker.pid, signal.SIGKILL)

        job = wait_for(client, job_id, lambda job: job["state"] == "succeeded")
        assert windows(job) == ["current", *YEARS]
        assert {window["state"] for window in job["windows"]} == {"trained"}
        assert job["attempts"] == 2
        assert (snapshots / f"snapshot_{YEARS[0]}" / "manifest.json").read_bytes() == first
        assert sorted(path.name for path in snapshots.iterdir() if path.name[0] != ".") == [
            f"snapshot_{year}" for year in YEARS
        ]
        assert fits_begun(client, job_id, YEARS[0]) == 1
        assert fits_begun(client, job_id, YEARS[2]) == 1

        again = client.post(
            f"/forecast/v1/{model_id}/training",
            json=request(model_id),
            headers={"Idempotency-Key": "another"},
        )
        repeated = wait_for(client, again.json()["id"], lambda job: job["state"] == "succeeded")
        assert {window["state"] for window in repeated["windows"]} == {"skipped"}
        assert "nothing to do" in repeated["message"]

        check_as_of(client, model_id)


def is_in(job: dict, window: str) -> bool:
    return bool(job["progress"]) and job["progress"]["window"] == window


def fits_begun(client, job_id: str, window: str) -> int:
    """Count how often the progress of a job came to a window, from its events."""
    events = client.get(f"{JOBS}/{job_id}/events").text
    lines = [line[6:] for line in events.splitlines() if line.startswith("data: ")]
    told = [json.loads(line) for line in lines]
    visited = [one["window"] for one in told if "window" in one]
    before = [None, *visited]
    return sum(now == window != then for then, now in zip(before, visited, strict=False))


def check_as_of(client, model_id: str) -> None:
    ready = client.post(f"/forecast/v1/{model_id}/initialization", json={})
    assert ready.status_code == 200, ready.text
    prices = table(weekly_prices())
    for as_of, cutoff in (
        ("2019-06-28", YEARS[0]),
        ("2020-01-03", YEARS[1]),
        ("2021-05-28", YEARS[2]),
    ):
        asked = prices | {"parameters": {"horizon": 4, "as_of": as_of, "strict": False}}
        answer = client.post(f"/forecast/v1/{model_id}/inference", json=asked)
        assert answer.status_code == 200, answer.text
        model = answer.json()["model"]
        assert model["version"] == f"snapshot_{cutoff}"
        assert model["cutoff"].startswith(cutoff)
        assert len(model["sha256"]) == 64
        first = answer.json()["predictions"][0]["timestamps"][0]
        assert as_of < first

    too_early = prices | {"parameters": {"horizon": 4, "as_of": "2017-06-30", "strict": True}}
    refused = client.post(f"/forecast/v1/{model_id}/inference", json=too_early)
    assert refused.status_code == 422
