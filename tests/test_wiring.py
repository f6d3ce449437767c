"""From settings to hosts: where each model lives, and in how many processes."""

import asyncio
import sys
from dataclasses import MISSING, fields, replace
from pathlib import Path

import pytest

from forecast.api.states import state_of
from forecast.core import machine
from forecast.data.policy import DataPolicy
from forecast.data.requests import RequestReader
from forecast.models import MODEL_REGISTRY
from forecast.serving.channel import RemoteHost
from forecast.serving.children import ChildHost
from forecast.serving.inline import InlineHost
from forecast.serving.service import ModelService
from forecast.settings import Settings, read_settings
from forecast.store.hub_settings import HubSettings
from forecast.store.sources import SourceResolver
from forecast.wiring import host as one_host
from forecast.wiring import hosts, training
from forecast.wiring.gateway import gateway_app
from forecast.wiring.shared import operator_config, store_of
from forecast.wiring.sync import sync_of
from forecast.wiring.worker import memory_bytes
from tests.serving.toy_model import ToyModel, spec_of, write_offset

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


def test_no_layer_has_a_default_of_its_own(tmp_path):
    chosen = settings(tmp_path)
    built = [
        (hosts._child_options(CHRONOS, chosen, {}), ("replicas", "threads", "environment")),
        (one_host.options_of(chosen, (), ()), ("limits", "policy")),
        (training._workers_options(chosen, {}), ("name", "environment")),
    ]
    for options, own in built:
        for field in fields(options):
            if field.default is not MISSING and field.name not in own:
                assert getattr(options, field.name) == field.default, field.name


def test_a_preload_is_tried_again_until_it_succeeds(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(one_host, "_PAUSE_S", 0.01)
    ToyModel.loading.set()
    sources = SourceResolver(
        local_roots=[tmp_path], cache=tmp_path / "c", hub=HubSettings(), mlflow_tracking_uri=None
    )
    host = InlineHost(ModelService(spec_of(), sources), RequestReader(DataPolicy()))

    async def flow() -> None:
        await host.start()
        loading = asyncio.create_task(one_host._load(host))
        async with asyncio.timeout(20):
            while "toy was not loaded" not in caplog.text:
                await asyncio.sleep(0.01)
            write_offset(tmp_path / "toy", 1.0)
            await loading
        assert (await state_of(host))["model_status"] == "ready"
        await host.close()

    asyncio.run(flow())


def test_children_leave_the_first_load_to_the_gateway(tmp_path, no_gpu):
    chosen = settings(tmp_path, preload=("chronos",))
    environment = {"FORECAST_PRELOAD": "chronos", "forecast_preload": "chronos", "A": "b"}
    options = hosts._child_options(CHRONOS, chosen, environment)
    assert options.environment.keys() == {"A", "FORECAST_HOME"}
