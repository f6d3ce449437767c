"""Versions on a hub, through its real client."""

import hashlib
import json
import logging
import multiprocessing
import random
from datetime import UTC, datetime

import pytest

from forecast.core.errors import (
    Conflict,
    Forbidden,
    SourceUnavailable,
    UnknownSource,
    UnsupportedFormat,
)
from forecast.store.hub_remote import HubRemote
from forecast.store.hub_settings import HubSettings
from tests.fakes.checkpoint import names_below, safetensors, write
from tests.fakes.hub import FakeHub
from tests.fakes.published import publish, shelf_in

# The client's own, on each file it sends.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

REPO = "org/lstm"
VERSION = "v2026-11-21-3f9c2a1"
SNAPSHOT = "snapshot_2020-12-31"


@pytest.fixture
def shelf(tmp_path):
    return shelf_in(tmp_path / "here")


@pytest.fixture
def other(tmp_path):
    """The store of another machine."""
    return shelf_in(tmp_path / "there")


@pytest.fixture
def remote_of(hub, tmp_path):
    def make(shelf, **settings):
        given = {"hf_endpoint": hub.endpoint, "hf_token": hub.token, "hf_timeout_s": 5.0} | settings
        return HubRemote(shelf, REPO, HubSettings(**given), tmp_path / "incoming")

    return make


@pytest.fixture
def no_pauses(monkeypatch):
    """Let the client try again at once."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)


def files_at(hub: FakeHub, branch: str) -> set[str]:
    return set(hub.repositories[REPO].files(branch)[1])


def stored(hub: FakeHub) -> list[str]:
    return [request for request in hub.requests if request.startswith("PUT /storage/")]


def test_a_version_and_a_snapshot_go_to_branches_of_a_private_repository(hub, shelf, remote_of):
    version, snapshot = publish(shelf, VERSION), publish(shelf, SNAPSHOT, 2.0)
    remote = remote_of(shelf)
    assert remote.upload(version).is_new
    assert remote.upload(snapshot).place.startswith(f"hf:{REPO}@")
    repository = hub.repositories[REPO]
    assert repository.private
    assert set(repository.refs) == {"main", VERSION, "snapshot-2020-12-31"}
    assert remote.names() == [SNAPSHOT, VERSION]
    whole = {*version.manifest.files, "manifest.json"}
    assert files_at(hub, VERSION) - {".gitattributes"} == whole
    assert files_at(hub, "main") == {".gitattributes"}


def test_what_is_there_is_not_sent_again(hub, shelf, remote_of):
    version = publish(shelf, VERSION)
    first = remote_of(shelf).upload(version)
    hub.requests.clear()
    again = remote_of(shelf).upload(version)
    assert (again.place, again.is_new) == (first.place, False)
    assert all(request.startswith(("GET", "HEAD")) for request in hub.requests)


def test_a_download_gives_the_same_version_to_another_store(hub, shelf, other, remote_of):
    for name in (VERSION, SNAPSHOT):
        ours = publish(shelf, name)
        remote_of(shelf).upload(ours)
        theirs = remote_of(other).download(name)
        assert (theirs.manifest, theirs.kind) == (ours.manifest, ours.kind)
        assert names_below(theirs.path) == names_below(ours.path)


def test_an_upload_that_breaks_in_the_middle_sends_only_what_is_missing(
    hub, shelf, remote_of, no_pauses
):
    version = publish(shelf, VERSION)
    remote_of(shelf).upload(version)
    before_second_file = hub.requests.index(stored(hub)[1])
    hub.repositories.clear()
    hub.requests.clear()

    hub.answers_left = before_second_file
    with pytest.raises(SourceUnavailable, match="not sent twice"):
        remote_of(shelf).upload(version)
    (kept,) = hub.repositories[REPO].objects
    assert files_at(hub, VERSION) == {".gitattributes"}

    hub.answers_left = None
    hub.requests.clear()
    assert remote_of(shelf).upload(version).is_new
    assert len(stored(hub)) == 1
    assert kept not in stored(hub)[0]
    assert version.manifest.files.keys() <= files_at(hub, VERSION)


def test_wherever_an_upload_breaks_nothing_half_is_there_and_it_can_be_repeated(
    hub, shelf, other, remote_of, no_pauses
):
    version = publish(shelf, VERSION)
    for answers in range(100):
        hub.repositories.clear()
        hub.answers_left = answers
        try:
            remote_of(shelf).upload(version)
        except SourceUnavailable:
            refs = hub.repositories[REPO].refs if hub.repositories else {}
            here = files_at(hub, VERSION) if VERSION in refs else set()
            assert here == {".gitattributes"} & here
            continue
        finally:
            hub.answers_left = None
        break
    assert 8 < answers < 99
    remote_of(shelf).upload(version)
    assert remote_of(other).download(VERSION).manifest == version.manifest


def test_a_download_that_breaks_goes_on_where_it_was(hub, shelf, other, remote_of, no_pauses):
    version = publish(shelf, VERSION)
    remote_of(shelf).upload(version)
    first = f"GET /{REPO}/resolve/"
    for answers in range(3, 100):
        hub.requests.clear()
        hub.answers_left = answers
        try:
            remote_of(other).download(VERSION)
        except SourceUnavailable:
            assert other.versions() == []
            continue
        finally:
            hub.answers_left = None
        break
    asked = [request for request in hub.requests if request.startswith(first)]
    assert len(asked) < len(version.manifest.files)
    assert other.get(VERSION).manifest == version.manifest


def test_a_killed_download_leaves_nothing_half(hub, shelf, remote_of, tmp_path):
    """Kill after each number of requests; at the end of them, moments later too."""
    version = publish(shelf, VERSION)
    remote_of(shelf).upload(version)
    hub.requests.clear()
    remote_of(shelf_in(tmp_path / "counted")).download(VERSION)
    requests, rng = len(hub.requests), random.Random(0)
    whole = 0
    for turn, wanted in enumerate([*range(1, requests), *[requests] * 8]):
        root, staging = tmp_path / f"store-{turn}", tmp_path / f"staging-{turn}"
        remote = HubRemote(
            shelf_in(root), REPO, HubSettings(hf_endpoint=hub.endpoint, hf_token=hub.token), staging
        )
        hub.requests.clear()
        child = multiprocessing.get_context("fork").Process(target=remote.download, args=[VERSION])
        child.start()
        while len(hub.requests) < wanted and child.is_alive():
            child.join(0.001)
        if wanted == requests:
            child.join(rng.uniform(0, 0.03))
        child.kill()
        child.join()
        here = shelf_in(root).versions()
        whole += len(here)
        assert [found.manifest for found in here] in ([], [version.manifest])
        assert remote.download(VERSION).manifest == version.manifest
        assert shelf_in(root).get(VERSION).manifest == version.manifest
    assert whole < requests + 7  # of so many turns


def test_a_damaged_download_is_refused_and_forgotten(hub, shelf, other, remote_of):
    remote_of(shelf).upload(publish(shelf, VERSION))
    hub.repositories[REPO].damaged.add("weights/model.safetensors")
    with pytest.raises(SourceUnavailable, match=r"weights/model\.safetensors is not what was"):
        remote_of(other).download(VERSION)
    assert other.versions() == []
    hub.repositories[REPO].damaged.clear()
    assert remote_of(other).download(VERSION).name == VERSION


@pytest.mark.parametrize("lacking", ["weights/head.safetensors", "manifest.json"])
def test_a_branch_that_lacks_a_file_is_refused(hub, shelf, other, remote_of, lacking):
    remote_of(shelf).upload(publish(shelf, VERSION))
    _, files = hub.repositories[REPO].files(VERSION)
    hub.repositories[REPO].commit(VERSION, {n: d for n, d in files.items() if n != lacking})
    with pytest.raises((SourceUnavailable, UnknownSource), match=r"missing|no version of ours"):
        remote_of(other).download(VERSION)
    assert other.versions() == []


def test_only_what_the_manifest_names_is_taken(hub, shelf, other, remote_of):
    remote_of(shelf).upload(publish(shelf, VERSION))
    _, files = hub.repositories[REPO].files(VERSION)
    beside = {"weights/optimizer.pt": b"\x80", "handler.py": b"", "other.safetensors": b"x"}
    hub.repositories[REPO].commit(VERSION, files | beside)
    hub.requests.clear()
    assert remote_of(other).download(VERSION).name == VERSION
    assert not any(name in request for name in beside for request in hub.requests)


@pytest.mark.parametrize(
    "name", ["weights/model.pt", "../config.json", "a//b.json", ".cache/x.json", "x\ny.json"]
)
def test_a_manifest_that_names_other_files_is_refused_before_they_are_asked_for(
    hub, shelf, other, remote_of, name
):
    version = publish(shelf, VERSION)
    remote_of(shelf).upload(version)
    _, files = hub.repositories[REPO].files(VERSION)
    document = json.loads(files["manifest.json"])
    document["files"][name] = {"sha256": hashlib.sha256(b"x").hexdigest(), "size": 1}
    changed = {"manifest.json": json.dumps(document).encode(), name: b"x"}
    hub.repositories[REPO].commit(VERSION, files | changed)
    hub.requests.clear()
    with pytest.raises(UnsupportedFormat, match="is not copied"):
        remote_of(other).download(VERSION)
    assert not any("weights" in request for request in hub.requests)


def test_a_version_that_would_not_be_taken_back_is_not_sent(hub, shelf, remote_of):
    version = publish(shelf, VERSION)
    with shelf.new_draft() as draft:
        write(draft, {"weights/model.pt": b"\x80"})
        pickled = shelf.publish(draft, version.metadata, overwrite=True)
    with pytest.raises(UnsupportedFormat, match=r"model\.pt"):
        remote_of(shelf).upload(pickled)
    assert hub.repositories == {}


def test_another_version_under_this_name_is_refused(hub, shelf, other, remote_of):
    remote_of(shelf).upload(publish(shelf, VERSION))
    hub.repositories[REPO].refs["v9.9"] = hub.repositories[REPO].refs[VERSION]
    with pytest.raises(SourceUnavailable, match="not that version"):
        remote_of(other).download("v9.9")
    with pytest.raises(SourceUnavailable, match="not that version"):
        remote_of(shelf_in(shelf.versions()[0].path, "tide")).download(VERSION)


def test_main_follows_what_current_means_and_holds_nothing_else(hub, shelf, other, remote_of):
    first, second = publish(shelf, "v1.0"), publish(shelf, "v1.1", 2.0)
    with shelf.new_draft() as draft:
        write(draft, {"config.json": b"{}", "weights/one.safetensors": safetensors()})
        third = shelf.publish(draft, first.metadata.model_copy(update={"version": "v2.0"}))
    remote = remote_of(shelf)
    for version in (first, second, third, first):
        shelf.aliases.set("current", version.name, who="test")
        assert remote.push_aliases(shelf.aliases.all()) == ["current"]
        assert remote.push_aliases(shelf.aliases.all()) == []
        assert remote_of(other).aliases() == {"current": version.name}
        assert files_at(hub, "main") - {".gitattributes", "manifest.json"} == set(
            version.manifest.files
        )
    assert remote.upload(third).is_new  # its branch begins with what main holds
    assert third.manifest.files.keys() == files_at(hub, "v2.0") - {
        ".gitattributes",
        "manifest.json",
    }


def test_a_later_one_replaces_an_earlier_one_and_not_the_other_way(hub, shelf, other, remote_of):
    early, late = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2))
    ours, theirs = (
        publish(shelf, SNAPSHOT, created_at=early),
        publish(other, SNAPSHOT, 2.0, created_at=late),
    )
    remote_of(shelf).upload(ours)
    assert remote_of(other).upload(theirs).is_new
    with pytest.raises(Conflict, match="2026-01-02"):
        remote_of(shelf).upload(ours)


def test_the_token_goes_to_the_hub_and_not_to_its_storage(hub, shelf, other, remote_of, caplog):
    caplog.set_level(logging.DEBUG)
    remote_of(shelf).upload(publish(shelf, VERSION))
    remote_of(other).download(VERSION)
    assert stored(hub)
    assert not set(stored(hub)) & set(hub.authorized)
    assert hub.token not in caplog.text


@pytest.mark.parametrize("token", [None, "hf_wrong_but_secret"])
def test_without_a_right_token_nothing_is_sent_or_seen(hub, shelf, other, remote_of, token):
    version = publish(shelf, VERSION)
    with pytest.raises((Forbidden, UnknownSource)) as refused:
        remote_of(shelf, hf_token=token).upload(version)
    assert "hf_" not in str(refused.value)
    remote_of(shelf).upload(version)
    for ask in (lambda remote: remote.download(VERSION), lambda remote: remote.names()):
        with pytest.raises(UnknownSource, match="token does not open it"):
            ask(remote_of(other, hf_token=token))


def test_a_hub_that_is_down_or_not_to_be_asked_is_said_at_once(hub, shelf, remote_of, caplog):
    version = publish(shelf, VERSION)
    with pytest.raises(SourceUnavailable, match="left alone"):
        remote_of(shelf, hf_offline=True).upload(version)
    remote = remote_of(shelf)
    hub.stop()
    for ask in (lambda: remote.upload(version), lambda: remote.download("v1.0"), remote.names):
        with pytest.raises(SourceUnavailable, match="does not answer"):
            ask()
    assert "Retry" not in caplog.text


@pytest.mark.parametrize("name", ["../v1.0", "snapshot_2020-02-30", "2020-12-31", "current", ""])
def test_what_is_no_name_of_a_version_is_not_asked_for(hub, other, remote_of, name):
    with pytest.raises(UnknownSource, match="no name"):
        remote_of(other).download(name)
    assert hub.requests == []
