"""From settings to hosts: where each model lives, and in how many processes."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from forecast.core import machine
from forecast.models import MODEL_REGISTRY
from forecast.serving.channel import RemoteHost
from forecast.serving.children import ChildHost
from forecast.serving.inline import InlineHost
from forecast.settings import Settings, read_settings
from forecast.wiring import gateway_app, hosts
from forecast.wiring.shared import operator_config, store_of, sync_of
from forecast.wiring.worker import memory_bytes

CHRONOS = replace(MODEL_REGISTRY["chronos"], max_replicas=8)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(hosts, "has_gpu", lambda: False)


def settings(tmp_path, **changes: object) -> Settings:
    return Settings(home=tmp_path, api_key="key-of-the-test", **changes)


def test_a_model_lives_where_the_settings_say(tmp_path):
    chosen = settings(tmp_path, inline=("statistical",), hosts={"chronos": "http://elsewhere:1"})
    kinds = {
        model_id: type(hosts.host_of(spec, chosen, {})) for model_id, spec in MODEL_REGISTRY.items()
    }
    assert kinds["statistical"] is InlineHost
    assert kinds["chronos"] is RemoteHost
    assert kinds["prophet"] is ChildHost


def test_a_child_gets_the_interpreter_the_home_and_its_share_of_the_cores(tmp_path, no_gpu):
    chosen = settings(
        Path("relative"), python={"chronos": Path("/opt/py")}, model_replicas={"chronos": 2}
    )
    options = hosts._child_options(CHRONOS, chosen, {"PATH": "/bin"})
    assert (options.python, options.replicas) == ("/opt/py", 2)
    assert options.threads == max(1, hosts.cores() // 2)
    assert options.environment["PATH"] == "/bin"
    assert options.environment["FORECAST_HOME"] == str(Path("relative").absolute())
    other = hosts._child_options(MODEL_REGISTRY["prophet"], chosen, {})
    assert (other.python, other.replicas) == (sys.executable, 1)


@pytest.mark.parametrize(("cores", "replicas"), [(1, 1), (2, 2), (4, 4), (64, 4)])
def test_by_default_a_core_is_a_replica_up_to_four(tmp_path, no_gpu, cores, replicas):
    assert hosts.replicas_of(CHRONOS, settings(tmp_path), cores) == replicas


def test_on_a_gpu_one_process_holds_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr(hosts, "has_gpu", lambda: True)
    assert hosts.replicas_of(CHRONOS, settings(tmp_path), 16) == 1
    assert hosts.replicas_of(CHRONOS, settings(tmp_path, replicas=3), 16) == 3


def test_what_a_model_asks_for_counts_over_what_all_do(tmp_path):
    chosen = settings(tmp_path, replicas=3, model_replicas={"chronos": 5})
    assert hosts.replicas_of(CHRONOS, chosen, 2) == 5
    assert hosts.replicas_of(MODEL_REGISTRY["timesfm25"], chosen, 2) == 3


def test_what_only_the_operator_sets_reaches_its_model_and_no_other(tmp_path):
    chosen = settings(tmp_path, timegpt_api_key="nixak-of-the-test")
    given = operator_config(MODEL_REGISTRY["timegpt"], chosen)
    assert list(given) == ["api_key"]
    assert given["api_key"].get_secret_value() == "nixak-of-the-test"
    assert operator_config(MODEL_REGISTRY["chronos"], chosen) == {}


def test_the_store_is_set_by_a_file_and_by_variables_which_win(tmp_path, monkeypatch):
    file = tmp_path / "store.yaml"
    file.write_text("max_versions: 3\nbackups: 5\nversion_format: number\n")
    monkeypatch.setenv("FORECAST_STORE_FILE", str(file))
    monkeypatch.setenv("FORECAST_STORE__MAX_VERSIONS", "7")
    monkeypatch.setenv("FORECAST_STORE__MAX_SNAPSHOTS", "none")
    config = store_of(read_settings(home=tmp_path)).config
    assert (config.max_versions, config.backups, config.version_format) == (7, 5, "number")
    assert config.max_snapshots is None
    assert config.root == tmp_path / "models"
    monkeypatch.setenv("FORECAST_STORE__MAX_VERSIONS", "many")
    with pytest.raises(ValueError, match="max_versions"):
        store_of(read_settings(home=tmp_path))


def test_copies_go_where_the_variables_say(tmp_path, monkeypatch):
    monkeypatch.setenv("STORAGE_BACKEND", "hf")
    with pytest.raises(ValueError, match="HF_LSTM_MODEL_REPO"):
        gateway_app(read_settings(home=tmp_path), {})
    monkeypatch.setenv("HF_LSTM_MODEL_REPO", "team/lstm")
    monkeypatch.setenv("FORECAST_MODEL_REPOS__PATCHTST", "team/patchtst")
    chosen = read_settings(home=tmp_path)
    assert chosen.model_repos == {"lstm": "team/lstm", "patchtst": "team/patchtst"}
    sync = sync_of(chosen, store_of(chosen))
    assert sync.remote("lstm").name == "hf"
    assert sync.remote("tide") is None


def test_a_worker_shares_the_memory_of_the_machine_between_its_jobs(tmp_path):
    whole = int(machine.memory_bytes() * 0.9)
    assert memory_bytes(settings(tmp_path, training_jobs=2)) == whole // 2
    assert memory_bytes(settings(tmp_path, training_memory_bytes=2**30)) == 2**30
