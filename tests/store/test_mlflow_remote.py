"""Versions on a real MLflow server on loopback, through its own client."""

from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import uuid4

import pytest

from forecast.core.errors import (
    Conflict,
    InvalidRequest,
    SourceUnavailable,
    UnknownSource,
    UnsupportedFormat,
)
from forecast.store.mlflow_remote import MlflowRemote
from forecast.store.tracking import Tracking
from tests.fakes.checkpoint import names_below, write
from tests.fakes.mlflow_server import free_port
from tests.fakes.published import publish, shelf_in

VERSION, SNAPSHOT = "v2026-11-21-3f9c2a1", "snapshot_2020-12-31"


@pytest.fixture
def shelf(tmp_path):
    return shelf_in(tmp_path / "here")


@pytest.fixture
def other(tmp_path):
    """The store of another machine."""
    return shelf_in(tmp_path / "there")


@pytest.fixture
def place(mlflow_server):
    """A registered model and an experiment of the test's own."""
    from mlflow import MlflowClient

    name = f"test-{uuid4().hex[:8]}"
    client = MlflowClient(tracking_uri=mlflow_server.uri, registry_uri=mlflow_server.uri)
    tracking = Tracking(mlflow_server.uri)

    def remote_of(shelf):
        return MlflowRemote(shelf, tracking, prefix=f"{name}-", experiment=name)

    def runs():
        found = client.get_experiment_by_name(name)
        return list(client.search_runs([found.experiment_id])) if found else []

    return SimpleNamespace(
        client=client,
        remote_of=remote_of,
        runs=runs,
        registered=f"{name}-lstm",
        artifacts=mlflow_server.database.parent / "artifacts",
    )


def artifacts_of(place, file):
    return [
        path for path in place.artifacts.rglob(file) if place.runs()[0].info.run_id in str(path)
    ]


def test_a_version_becomes_a_registered_run_with_its_metrics_and_configuration(shelf, place):
    version = publish(shelf, SNAPSHOT, metrics={"validation_loss": 0.25, "broken": float("nan")})
    copy = place.remote_of(shelf).upload(version)
    assert (copy.place, copy.is_new) == (f"mlflow:models:/{place.registered}/1", True)
    (run,) = place.runs()
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"validation_loss": 0.25}
    assert run.data.params == {
        "context_length": "52",
        "optimizer.lr": "0.001",
        "optimizer.betas": "[0.9, 0.99]",
        "seed": "null",
    }
    registered = place.client.get_model_version(place.registered, "1")
    for tags in (run.data.tags, registered.tags):
        assert tags["forecast.version"] == SNAPSHOT
        assert tags["forecast.cutoff"] == "2020-12-31T23:59:59+00:00"
        assert tags["forecast.data_sha256"] == "d" * 64
        assert tags["mlflow.source.git.commit"] == "a" * 40
    assert place.remote_of(shelf).names() == [SNAPSHOT]


def test_a_registered_version_is_imported_whole_and_only_what_its_manifest_names(
    shelf, other, place, tmp_path
):
    version = publish(shelf, VERSION)
    place.remote_of(shelf).upload(version)
    (run,) = place.runs()
    for file in write(tmp_path / "beside", {"x.pkl": b"\x80", "y.safetensors": b"y"}).iterdir():
        place.client.log_artifact(run.info.run_id, str(file), "model/weights")
    imported = place.remote_of(other).download(VERSION)
    assert imported.manifest == version.manifest
    assert names_below(imported.path) == names_below(version.path)


def test_it_is_a_source_of_weights_too(shelf, place, make_resolver, mlflow_server):
    version = publish(shelf, VERSION)
    source = place.remote_of(shelf).upload(version).place
    resolver = make_resolver(mlflow=mlflow_server.uri)
    assert (resolver.resolve(source, model_id="lstm").path / "config.json").is_file()


def test_what_is_registered_is_not_logged_again(shelf, place):
    version = publish(shelf, VERSION)
    first = place.remote_of(shelf).upload(version)
    again = place.remote_of(shelf).upload(version)
    assert (again.place, again.is_new, len(place.runs())) == (first.place, False, 1)


def test_an_upload_that_was_broken_off_goes_on_in_its_run(shelf, other, place, monkeypatch):
    version = publish(shelf, VERSION)
    sent = []
    whole = type(place.client).log_artifact

    def breaks_at_the_third(client, run_id, path, folder):
        sent.append(path)
        if len(sent) == 3:
            raise ConnectionResetError
        whole(client, run_id, path, folder)

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.log_artifact", breaks_at_the_third)
        with pytest.raises(SourceUnavailable, match="try again"):
            place.remote_of(shelf).upload(version)
    assert place.remote_of(shelf).names() == []
    assert place.remote_of(shelf).upload(version).is_new
    assert len(place.runs()) == 1
    assert place.remote_of(other).download(VERSION).manifest == version.manifest


def test_a_damaged_artifact_is_refused(shelf, other, place):
    place.remote_of(shelf).upload(publish(shelf, VERSION))
    (file,) = artifacts_of(place, "model.safetensors")
    data = file.read_bytes()
    file.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(SourceUnavailable, match=r"weights/model\.safetensors is not what was"):
        place.remote_of(other).download(VERSION)
    file.write_bytes(data[:-1])
    with pytest.raises(SourceUnavailable, match="of another size"):
        place.remote_of(other).download(VERSION)
    assert other.versions() == []


def test_aliases_go_there_and_are_found_from_elsewhere(shelf, other, place):
    for name in ("v1.0", "v1.1"):
        publish(shelf, name)
    shelf.aliases.set("current", "v1.1", who="test")
    shelf.aliases.set("champion", "v1.0", who="test")
    remote = place.remote_of(shelf)
    assert sorted(remote.push_aliases(shelf.aliases.all())) == ["champion", "current"]
    assert remote.push_aliases(shelf.aliases.all()) == []
    assert place.remote_of(other).aliases() == shelf.aliases.all()
    shelf.aliases.set("current", "v1.0", who="test")
    assert remote.push_aliases(shelf.aliases.all()) == ["current"]


def test_of_one_name_the_later_made_counts(shelf, other, place):
    early, late = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2))
    ours = publish(shelf, SNAPSHOT, created_at=early)
    theirs = publish(other, SNAPSHOT, 2.0, created_at=late)
    place.remote_of(shelf).upload(ours)
    assert place.remote_of(other).upload(theirs).place.endswith("/2")
    with pytest.raises(Conflict, match="2026-01-02"):
        place.remote_of(shelf).upload(ours)


def test_what_is_not_there_is_said(shelf, place):
    remote = place.remote_of(shelf)
    assert remote.names() == []
    for ask in (lambda: remote.download(VERSION), lambda: remote.download("x"), remote.aliases):
        with pytest.raises(UnknownSource):
            ask()


def test_a_version_that_would_not_be_taken_back_is_not_logged(shelf, place):
    metadata = publish(shelf, VERSION).metadata
    with shelf.new_draft() as draft:
        write(draft, {"weights/model.pt": b"\x80"})
        pickled = shelf.publish(draft, metadata, overwrite=True)
    with pytest.raises(UnsupportedFormat, match=r"model\.pt"):
        place.remote_of(shelf).upload(pickled)
    assert place.runs() == []


@pytest.mark.parametrize(
    ("uri", "error"),
    [(f"http://127.0.0.1:{free_port()}", SourceUnavailable), (None, InvalidRequest)],
    ids=["closed-port", "no-server-named"],
)
def test_a_server_that_is_not_there_is_said_at_once(shelf, uri, error):
    version = publish(shelf, VERSION)
    with pytest.raises(error):
        MlflowRemote(shelf, Tracking(uri)).upload(version)
