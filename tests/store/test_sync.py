"""The store and its copies elsewhere, both ways, on a hub and an MLflow server of loopback."""

import json
import logging
from types import SimpleNamespace
from uuid import uuid4

import pytest

from forecast.store.config import StoreConfig
from forecast.store.hub_settings import HubSettings
from forecast.store.remotes import RemoteOptions, remotes_of
from forecast.store.sync import StoreSync, SyncReport
from forecast.store.versions import ModelStore
from tests.fakes.hub import FakeHub
from tests.fakes.published import publish

# The hub's client's own, on each file it sends.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

NAMES = ["v1.0", "v1.1", "snapshot_2019-12-31", "snapshot_2020-12-31"]


@pytest.fixture(params=["hf", "mlflow"])
def machine(request, tmp_path):
    """Make machines: each has a store of its own, and all of them the same place elsewhere."""
    model_id = f"lstm{uuid4().hex[:6]}"  # the MLflow server is shared by all tests
    if request.param == "hf":
        hub = request.getfixturevalue("hub")
        given = {
            "hub": HubSettings(hf_endpoint=hub.endpoint, hf_token=hub.token),
            "repos": {model_id: "org/lstm"},
        }
    else:
        given = {"mlflow_uri": request.getfixturevalue("mlflow_server").uri}
    return machines(
        tmp_path, RemoteOptions(request.param, staging=tmp_path / "in", **given), model_id
    )


@pytest.fixture
def hub_machine(hub, tmp_path):
    options = RemoteOptions(
        "hf",
        {"lstm": "org/lstm"},
        HubSettings(hf_endpoint=hub.endpoint, hf_token=hub.token),
        staging=tmp_path / "in",
    )
    return machines(tmp_path, options, "lstm")


def machines(folder, options, model_id):
    def make(name: str) -> SimpleNamespace:
        store = ModelStore(StoreConfig(root=folder / name))
        sync = StoreSync(store, remotes_of(store, options, [model_id]))
        return SimpleNamespace(
            sync=sync, shelf=store.model(model_id), store=store, model_id=model_id
        )

    return make


def all_of(shelf) -> dict[str, object]:
    return {one.name: one.manifest for one in (*shelf.versions(), *shelf.snapshots())}


def test_two_stores_come_to_hold_the_same(machine):
    one, two = machine("one"), machine("two")
    for number, name in enumerate(NAMES):
        publish(one.shelf, name, float(number))
    one.shelf.aliases.set("current", "v1.1", who="test")

    report = one.sync.sync_all_to_remote(one.model_id)
    assert (sorted(report.uploaded), report.failed) == (sorted(NAMES), {})
    assert report.aliases == ["current"]
    report = two.sync.sync_all_to_local(two.model_id)
    assert (sorted(report.downloaded), report.failed) == (sorted(NAMES), {})
    assert all_of(two.shelf) == all_of(one.shelf)
    assert two.shelf.get("current").name == "v1.1"

    publish(two.shelf, "v2.0", 9.0)
    report = two.sync.sync_all_to_remote(two.model_id)
    assert (report.uploaded, sorted(report.skipped)) == (["v2.0"], sorted(NAMES))
    report = one.sync.sync_all_to_local(one.model_id)
    assert (report.downloaded, sorted(report.skipped)) == (["v2.0"], sorted(NAMES))
    assert all_of(two.shelf) == all_of(one.shelf)
    assert json.loads(json.dumps(report.to_dict()))["downloaded"] == ["v2.0"]


def test_an_alias_that_is_set_here_stays(machine):
    one, two = machine("one"), machine("two")
    for name in ("v1.0", "v1.1"):
        publish(one.shelf, name)
    one.shelf.aliases.set("current", "v1.1", who="test")
    one.sync.sync_all_to_remote(one.model_id)
    publish(two.shelf, "v1.0")
    two.shelf.aliases.set("current", "v1.0", who="operator")
    two.sync.sync_all_to_local(two.model_id)
    assert two.shelf.aliases.get("current") == "v1.0"


def test_what_is_not_here_is_brought(machine):
    one = machine("one")
    names = ["snapshot_2020-12-31", "2020-12-31", "v1.0", "current"]
    assert [one.sync.ensure_available(one.model_id, name) for name in names] == [None] * 4
    for published in ("v1.0", "snapshot_2020-12-31"):
        publish(one.shelf, published)
    one.shelf.aliases.set("current", "v1.0", who="test")
    one.sync.sync_all_to_remote(one.model_id)
    for name in names:
        another = machine(f"for-{name}")
        brought = another.sync.ensure_available(one.model_id, name)
        assert brought.manifest == one.shelf.get(name).manifest
        assert list(all_of(another.shelf)) == [brought.name]
        assert another.sync.ensure_available(one.model_id, "snapshot_1999-12-31") is None


def test_a_damaged_version_is_brought_anew(machine):
    one = machine("one")
    version = publish(one.shelf, "v1.0")
    one.sync.upload(one.model_id, "v1.0")
    for mend in (
        lambda: one.sync.ensure_available(one.model_id, "v1.0"),
        lambda: one.sync.sync_all_to_local(one.model_id),
    ):
        file = version.path / "weights/model.safetensors"
        file.write_bytes(bytes([1]) + file.read_bytes()[1:])
        assert mend()
        assert one.shelf.get("v1.0").manifest == version.manifest


def test_one_failure_does_not_stop_the_rest(hub_machine, caplog):
    one = hub_machine("one")
    versions = [publish(one.shelf, name, number) for number, name in enumerate(NAMES)]
    file = versions[1].path / "config.json"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"52", b"53"))
    report = one.sync.sync_all_to_remote("lstm")
    assert sorted(report.uploaded) == sorted(set(NAMES) - {"v1.1"})
    assert "config.json is not what was written" in report.failed["v1.1"]
    file.write_bytes(whole)
    assert one.sync.sync_all_to_remote("lstm").uploaded == ["v1.1"]
    assert "v1.1" in caplog.text


def test_a_hub_that_fails_is_reported_and_the_next_sync_makes_up_for_it(
    hub: FakeHub, hub_machine, caplog
):
    one, two = hub_machine("one"), hub_machine("two")
    publish(one.shelf, "v1.0")
    one.shelf.aliases.set("current", "v1.0", who="test")
    one.sync.sync_all_to_remote("lstm")
    hub.repositories["org/lstm"].status = 503
    publish(one.shelf, "v1.1")
    assert "does not answer" in one.sync.upload("lstm", "v1.1").failed["v1.1"]
    assert "does not answer" in one.sync.push_aliases("lstm").failed["aliases"]
    assert "does not answer" in two.sync.sync_all_to_local("lstm").failed["all"]
    assert two.sync.ensure_available("lstm", "v1.0") is None
    assert "was not brought from hf" in caplog.text
    hub.repositories["org/lstm"].status = None
    report = one.sync.sync_all_to_remote("lstm")
    assert (report.uploaded, report.skipped, report.failed) == (["v1.1"], ["v1.0"], {})


def test_an_answer_that_nobody_expects_fails_the_copy_and_nothing_else(hub, hub_machine, caplog):
    one = hub_machine("one")
    publish(one.shelf, "v1.0")
    one.sync.sync_all_to_remote("lstm")
    hub.repositories["org/lstm"].nonsense = True
    publish(one.shelf, "v1.1")
    one.shelf.aliases.set("current", "v1.1", who="test")
    report = one.sync.sync_all_to_remote("lstm")
    assert (report.failed.keys(), report.skipped) == ({"v1.1", "aliases"}, ["v1.0"])
    assert "KeyError" in caplog.text


def test_a_model_without_a_place_elsewhere_stays_here(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    store = ModelStore(StoreConfig(root=tmp_path))
    publish(store.model("lstm"), "v1.0")
    sync = StoreSync(store, remotes_of(store, RemoteOptions(), ["lstm"]))
    for report in (
        sync.upload("lstm", "v1.0"),
        sync.push_aliases("lstm"),
        sync.sync_all_to_local("lstm"),
        sync.sync_all_to_remote("lstm"),
    ):
        assert report == SyncReport()
    assert sync.ensure_available("lstm", "v1.0").name == "v1.0"
    assert sync.ensure_available("lstm", "v1.1") is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (RemoteOptions("hf"), "HF_LSTM_MODEL_REPO=organization/name"),
        (RemoteOptions("hf", {"lstn": "org/lstm"}), "lstn, which is no model"),
        (RemoteOptions("hf", {"lstm": "https://hub/org/lstm"}), "organization/name"),
        (RemoteOptions("mlflow"), "MLFLOW_TRACKING_URI"),
        (RemoteOptions("mlflow", mlflow_uri="sqlite:///m.db"), "MLFLOW_TRACKING_URI"),
    ],
)
def test_a_backend_that_lacks_something_says_what(tmp_path, options, says):
    with pytest.raises(ValueError, match=says):
        remotes_of(ModelStore(StoreConfig(root=tmp_path)), options, ["lstm"])
