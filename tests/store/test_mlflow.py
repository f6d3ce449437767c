"""Against a real tracking server on loopback, through MLflow's own client."""

import sqlite3
import sys
from contextlib import closing
from types import SimpleNamespace

import pytest

from forecast.core.errors import (
    Forbidden,
    InvalidRequest,
    MissingLibrary,
    SourceUnavailable,
    UnknownSource,
    UnsupportedFormat,
)
from tests.fakes.checkpoint import CHECKPOINT, TAKEN, WEIGHTS, names_below, safetensors, write
from tests.fakes.mlflow_server import free_port

NEWER = CHECKPOINT | {"model.safetensors": safetensors(2.0)}


@pytest.fixture(scope="session")
def registered(mlflow_server, tmp_path_factory) -> SimpleNamespace:
    """Register a model of two versions, a wrapped one, one of pickles, and aliases."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=mlflow_server.uri, registry_uri=mlflow_server.uri)
    experiment = client.create_experiment("demand")
    folder = tmp_path_factory.mktemp("checkpoints")
    run_ids = {}
    uploads = {
        "v1": (CHECKPOINT, "model"),
        "v2": (NEWER, "model"),
        "wrapped": (CHECKPOINT, "model/artifacts/ckpt"),
        "pickled": ({"config.json": b"{}", "pytorch_model.bin": b"\x80"}, "model"),
    }
    for name, (files, path) in uploads.items():
        run_ids[name] = client.create_run(experiment).info.run_id
        client.log_artifacts(run_ids[name], str(write(folder / name, files)), path)
    versions = {"demand": ["v1", "v2"], "wrap ped": ["wrapped"], "pickles": ["pickled"]}
    for model, runs in versions.items():
        client.create_registered_model(model)
        for run in runs:
            client.create_model_version(model, f"runs:/{run_ids[run]}/model", run_ids[run])
    client.set_registered_model_alias("demand", "champion", "1")
    return SimpleNamespace(
        client=client, runs=run_ids, uri=mlflow_server.uri, database=mlflow_server.database
    )


@pytest.fixture
def resolve(make_resolver, registered):
    def resolve_anew(source: str, uri: str | None = registered.uri):
        return make_resolver(mlflow=uri).resolve(source, model_id="chronos")

    return resolve_anew


def weights_of(resolved) -> bytes:
    return (resolved.path / "model.safetensors").read_bytes()


def test_an_alias_becomes_the_version_it_means_now(resolve, registered):
    registered.client.set_registered_model_alias("demand", "champion", "1")
    first = resolve("mlflow:models:/demand@champion")
    registered.client.set_registered_model_alias("demand", "champion", "2")
    second = resolve("mlflow:models:/demand@champion")
    assert (first.source, weights_of(first)) == ("mlflow:models:/demand/1", WEIGHTS)
    assert second.source == "mlflow:models:/demand/2"
    assert weights_of(second) == NEWER["model.safetensors"]
    assert first.sha256 != second.sha256


def test_of_what_the_server_sends_only_safe_files_are_kept(resolve):
    assert names_below(resolve("mlflow:models:/demand/1").path) == TAKEN


def test_a_wrapped_checkpoint_is_found_below_the_version(resolve):
    resolved = resolve("mlflow:models:/wrap ped/1")
    assert resolved.path.name == "ckpt"
    assert weights_of(resolved) == WEIGHTS


def test_the_artifacts_of_a_run_are_a_source_too(resolve, registered):
    source = f"mlflow:runs:/{registered.runs['v2']}/model"
    resolved = resolve(source)
    assert (resolved.source, weights_of(resolved)) == (source, NEWER["model.safetensors"])


def test_a_logged_model_of_mlflow_3_is_downloaded_from_its_own_location(
    resolve, registered, tmp_path
):
    client = registered.client
    model = client.create_logged_model("0", name="logged")
    client.log_model_artifacts(model.model_id, str(write(tmp_path / "logged")))
    client.finalize_logged_model(model.model_id, "READY")
    client.create_registered_model("logged")
    client.create_model_version("logged", f"models:/{model.model_id}", model_id=model.model_id)
    assert weights_of(resolve("mlflow:models:/logged/1")) == WEIGHTS


def test_a_version_that_is_one_file_is_refused(resolve, registered):
    run = registered.runs["v1"]
    registered.client.create_registered_model("file")
    registered.client.create_model_version("file", f"runs:/{run}/model/model.safetensors", run)
    with pytest.raises(InvalidRequest, match="name the folder"):
        resolve("mlflow:models:/file/1")


def test_a_version_that_is_here_needs_no_server(resolve, registered, monkeypatch):
    before = resolve("mlflow:models:/demand/1")
    monkeypatch.setattr("forecast.store.tracking.urlopen", lambda *_, **__: pytest.fail("asked"))
    assert resolve("mlflow:models:/demand/1") == before


def test_another_server_has_other_versions(resolve):
    resolve("mlflow:models:/demand/1")
    with pytest.raises(SourceUnavailable, match="does not answer"):
        resolve("mlflow:models:/demand/1", uri=f"http://127.0.0.1:{free_port()}")


def test_a_download_that_was_killed_leaves_nothing_that_counts(resolve, tmp_path):
    path = resolve("mlflow:models:/demand/1").path
    path.rename(path.with_name(".draft-killed"))
    assert weights_of(resolve("mlflow:models:/demand/1")) == WEIGHTS
    assert not list(path.parent.glob(".draft-*"))


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("mlflow:models:/nothing/1", UnknownSource),
        ("mlflow:models:/nothing@champion", UnknownSource),
        ("mlflow:models:/demand@nobody", UnknownSource),
        ("mlflow:models:/demand/99", UnknownSource),
        ("mlflow:models:/../1", UnknownSource),
        (f"mlflow:runs:/{'0' * 32}/model", UnknownSource),
        ("mlflow:runs:/{v1}/nothing", UnknownSource),
        ("mlflow:runs:/{v1}/model/config.json", UnknownSource),
        ("mlflow:models:/pickles/1", UnsupportedFormat),
    ],
)
def test_what_the_server_does_not_have_is_said_and_leaves_nothing(
    resolve, registered, tmp_path, source, error
):
    with pytest.raises(error) as refused:
        resolve(source.format(**registered.runs))
    assert "127.0.0.1" not in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert [path.name for path in left if path.name != ".lock"] == []


def test_a_version_in_a_folder_of_the_server_is_not_read_from_here(resolve, registered, tmp_path):
    """Servers refuse to register one, so an older server's row is written into its database."""
    run = registered.runs["v1"]
    registered.client.create_registered_model("old")
    registered.client.create_model_version("old", f"runs:/{run}/model", run)
    location = write(tmp_path / "elsewhere").as_uri()
    with closing(sqlite3.connect(registered.database)) as database, database:
        database.execute(
            "UPDATE model_versions SET source = ?, storage_location = ? WHERE name = 'old'",
            (location, location),
        )
    with pytest.raises(Forbidden, match="serve artifacts"):
        resolve("mlflow:models:/old/1")


@pytest.mark.parametrize("uri", [None, "sqlite:///m.db", "/srv/mlruns", "databricks"])
def test_an_address_that_is_no_server_is_refused(make_resolver, uri):
    with pytest.raises(InvalidRequest, match="tracking address"):
        make_resolver(mlflow=uri).resolve("mlflow:models:/demand/1", model_id="chronos")


def test_a_missing_library_names_the_extra(make_resolver, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    with pytest.raises(MissingLibrary, match=r"forecast-gateway\[mlflow\]"):
        make_resolver(mlflow="http://127.0.0.1:9").resolve(
            "mlflow:models:/demand/1", model_id="chronos"
        )
