"""The calls of docs/jobs.md, run in their order against a real gateway and its worker."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from forecast.settings import Settings
from forecast.wiring.gateway import gateway_app
from tests.api.serving import KEY, caller, running
from tests.docs.commands import commands_of, run
from tests.docs.test_http_guide import until_ready

pytest.importorskip("torch", reason="needs the networks extra")

PAGE = Path(__file__).parents[2] / "docs" / "jobs.md"
YEARS = (2023, 2024, 2025)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_every_call_of_the_page_works_and_a_night_later_there_is_nothing_to_do(tmp_path):
    settings = Settings(
        home=tmp_path / ".forecast",
        api_key=KEY,
        models=("lstm", "patchtst"),
        inline=("all",),
        default_dataset="sales",
        training_threads=1,
        access_log=False,
    )
    with running(gateway_app(settings, os.environ)) as url:
        until_ready(url)
        printed = run(commands_of(PAGE), url, tmp_path)
        names = [f'"snapshot_{year}-12-31"' for year in YEARS]
        assert all(name in printed for name in names)
        assert printed.count("event: done") == 2
        assert '"best_baseline"' in printed

        with caller(url) as client:
            begun = client.post("/train/lstm", json={"config": SMALL}).json()
            events = client.get(f"/forecast/v1/jobs/{begun['id']}/events", timeout=200).text
            job = client.get(f"/forecast/v1/jobs/{begun['id']}").json()
    assert "event: done" in events
    assert job["state"] == "succeeded"
    assert {window["state"] for window in job["windows"]} == {"skipped"}
    assert "nothing to do" in job["message"]

    made = pd.read_parquet(tmp_path / "backtest.parquet")
    assert len(made) == 2 * 4 * 3  # items, origins, steps


SMALL = {"context_length": 12, "horizon": 3, "segment_length": 3, "hidden_dim": 8, "max_epochs": 2}
