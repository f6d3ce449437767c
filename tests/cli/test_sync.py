import json
import os
import subprocess
import sys
from pathlib import Path

from tests.fakes.hub import FakeHub
from tests.fakes.published import publish, shelf_in


def run(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "forecast.cli.main", "sync", *arguments],
        env={"PATH": os.environ["PATH"], "FORECAST_HOME": str(home), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_two_machines_share_a_repository(tmp_path):
    version = publish(shelf_in(tmp_path / "one/models"), "v1.0")
    with FakeHub() as hub:
        place = {"STORAGE_BACKEND": "hf", "HF_LSTM_MODEL_REPO": "org/lstm"}
        place |= {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.token}
        there = run(tmp_path / "one", "--only", "upload", **place)
        assert there.returncode == 0, there.stderr
        assert json.loads(there.stdout)["lstm"]["upload"]["uploaded"] == ["v1.0"]
        here = run(tmp_path / "two", "lstm", **place)
        assert here.returncode == 0, here.stderr
        assert json.loads(here.stdout)["lstm"]["download"]["downloaded"] == ["v1.0"]
    assert shelf_in(tmp_path / "two/models").get("v1.0").manifest == version.manifest
    without = run(tmp_path / "two", **place)
    assert without.returncode == 1
    assert "does not answer" in json.loads(without.stdout)["lstm"]["download"]["failed"]["all"]
    assert hub.token not in without.stdout + without.stderr


def test_what_cannot_be_synced_is_one_sentence(tmp_path):
    for arguments, variables, says in [
        ([], {}, "STORAGE_BACKEND is local"),
        ([], {"STORAGE_BACKEND": "hf"}, "HF_LSTM_MODEL_REPO=organization/name"),
        (
            ["lstn"],
            {"STORAGE_BACKEND": "mlflow", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
            "lstn",
        ),
    ]:
        done = run(tmp_path, *arguments, **variables)
        assert done.returncode == 1
        assert done.stderr.startswith("forecast sync: ")
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
