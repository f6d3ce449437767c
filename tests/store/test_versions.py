import json
import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from forecast.core.errors import (
    Conflict,
    InvalidRequest,
    StoreError,
    VersionDamaged,
    VersionNotFound,
)
from forecast.core.state import FORMAT_VERSION, ModelMetadata
from forecast.store.checkpoint import digest
from forecast.store.config import StoreConfig
from forecast.store.versions import ModelStore
from tests.store.stored import MODEL_ID, content, publish, publish_snapshot, shelf_at

ROOT = Path(__file__).parents[2]
HASHES = {"config_sha256": "c" * 64, "data_sha256": "d" * 64}


@pytest.fixture
def shelf(tmp_path):
    return shelf_at(tmp_path)


def damage(version, name="weights/model.safetensors"):
    (version.path / name).write_bytes(b"damaged!")


def test_what_is_published_is_found_whole_by_every_name(shelf, tmp_path):
    made = publish(shelf, "v1.0", "weights", metrics={"mase": 0.5})
    publish_snapshot(shelf, "2020-12-31", "old")
    shelf.aliases.set("champion", "v1.0", who="me")
    found = shelf_at(tmp_path).get("v1.0")
    assert (found.name, found.kind, found.aliases) == ("v1.0", "version", ("champion",))
    assert (found.manifest, found.sha256) == (made.manifest, digest(found.path))
    assert found.source == "store:v1.0"
    assert shelf.get("champion") == found
    assert found.state.metadata.metrics == {"mase": 0.5}
    for name in ("snapshot_2020-12-31", "snapshot-2020-12-31", "2020-12-31"):
        assert content(shelf.get(name)) == "old"
    assert {path.name for path in found.path.iterdir()} == {
        "config.json",
        "weights",
        "manifest.json",
    }


def test_the_newest_stand_first_in_lists_and_invalid_ones_are_left_out(shelf):
    for name in ("v1.0", "v1.1", "v1.2"):
        publish(shelf, name)
    for day in ("2020-12-31", "2018-12-31", "2019-12-31"):
        publish_snapshot(shelf, day)
    (shelf.get("v1.1").path / "manifest.json").unlink()
    (shelf.get("v1.0").path / "config.json").unlink()
    shelf.get("v1.2").path.with_name("stray").mkdir()
    assert [version.name for version in shelf.versions()] == ["v1.2"]
    assert [snapshot.name[9:13] for snapshot in shelf.snapshots()] == ["2020", "2019", "2018"]


@pytest.mark.parametrize("model_id", ["", "..", "a/b", "A", ".lstm", "a" * 65])
def test_no_id_of_a_model_is_a_path(tmp_path, model_id):
    with pytest.raises(InvalidRequest, match="id of a model"):
        ModelStore(StoreConfig(root=tmp_path)).model(model_id)


@pytest.mark.parametrize(
    "metadata",
    [
        {"version": "1.0"},
        {"version": "v../../x"},
        {"version": "vnext"},
        {"version": "v1", "model_id": "other"},
        {"version": "v1.0", "kind": "snapshot", "cutoff": "2020-12-31T23:59:59Z"},
        {"version": "snapshot_2020-12-31", "kind": "snapshot"},
        {
            "version": "snapshot_2020-12-31",
            "kind": "snapshot",
            "cutoff": "2021-01-01T00:00:00Z",
        },
        {
            "version": "snapshot-2020-12-31",
            "kind": "snapshot",
            "cutoff": "2020-12-31T00:00:00Z",
        },
    ],
)
def test_what_has_no_proper_name_is_not_published(shelf, metadata):
    with shelf.new_draft() as draft, pytest.raises(InvalidRequest):
        (draft / "config.json").touch()
        shelf.publish(draft, ModelMetadata.model_validate({"model_id": MODEL_ID} | metadata))
    assert shelf.versions() == shelf.snapshots() == []


def test_a_name_that_is_taken_is_kept_unless_overwritten_and_then_backed_up(shelf):
    publish(shelf, "v1.0", "first")
    with pytest.raises(Conflict, match=r"has a version v1.0 already"):
        publish(shelf, "v1.0", "second")
    assert content(shelf.get("v1.0")) == "first"
    publish(shelf, "v1.0", "second", overwrite=True)
    assert content(shelf.get("v1.0")) == "second"
    assert content(shelf.restore("v1.0")) == "first"
    assert content(shelf.restore("v1.0")) == "second"


def test_so_many_backups_are_kept_as_the_policy_says(tmp_path):
    shelf = shelf_at(tmp_path, backups=2)
    for number in range(5):
        publish(shelf, "v1.0", str(number), overwrite=True)
    backups = sorted((tmp_path / MODEL_ID / "backups").iterdir())
    assert [path.name for path in backups] == ["v1.0-3", "v1.0-4"]
    assert [(path / "weights/model.safetensors").read_text() for path in backups] == ["2", "3"]


def test_there_is_nothing_to_restore_without_a_backup_or_from_a_damaged_one(shelf):
    with pytest.raises(VersionNotFound, match="no backup"):
        shelf.restore("v1.0")
    old = publish(shelf, "v1.0", "first")
    publish(shelf, "v1.0", "second", overwrite=True)
    (old.path.parents[1] / "backups/v1.0-1/config.json").write_text("[]")
    with pytest.raises(VersionDamaged, match=r"config.json"):
        shelf.restore("v1.0")
    assert content(shelf.get("v1.0")) == "second"


def test_a_damaged_version_names_its_file_and_the_next_older_good_one(shelf):
    for name in ("v1.0", "v1.1", "v1.2", "v1.3"):
        publish(shelf, name)
    damage(shelf.get("v1.1"))
    damage(shelf.get("v1.2"))
    with pytest.raises(VersionDamaged, match=r"model.safetensors .*older good one is v1.0$"):
        shelf.get("v1.2")
    damage(shelf.get("v1.0"))
    with pytest.raises(VersionDamaged, match="no older one is good"):
        shelf.get("v1.2")
    assert shelf.get("v1.3")


def test_a_snapshot_that_lost_a_file_points_to_an_earlier_date_not_a_later_one(shelf):
    for day in ("2018-12-31", "2020-12-31", "2019-12-31"):
        publish_snapshot(shelf, day)
    (shelf.get("2019-12-31").path / "config.json").unlink()
    with pytest.raises(VersionDamaged, match="older good one is snapshot_2018-12-31"):
        shelf.get("2019-12-31")
    assert shelf.snapshot(date(2019, 12, 31)) is None
    assert shelf.snapshot(date(2018, 12, 31)).name == "snapshot_2018-12-31"


def test_a_damaged_version_makes_way_for_a_new_one_and_is_kept(shelf):
    damage(publish(shelf, "v1.0", "first"))
    publish(shelf, "v1.0", "second")
    assert content(shelf.get("v1.0")) == "second"
    (backup,) = (shelf.get("v1.0").path.parents[1] / "backups").iterdir()
    assert (backup / "weights/model.safetensors").read_text() == "damaged!"


def test_what_a_later_program_wrote_is_refused_with_words_and_keeps_its_name(shelf):
    file = publish(shelf, "v1.0").path / "manifest.json"
    later = json.loads(file.read_text()) | {"format_version": FORMAT_VERSION + 1}
    file.write_text(json.dumps(later))
    assert shelf.versions() == []
    with pytest.raises(VersionDamaged, match="reads formats up to"):
        shelf.get("v1.0")
    with pytest.raises(Conflict):
        publish(shelf, "v1.0")


def test_a_folder_under_the_name_of_another_version_is_refused(shelf):
    one = publish(shelf, "v1.0")
    one.path.rename(one.path.with_name("v1.1"))
    with pytest.raises(VersionDamaged, match="of another version"):
        shelf.get("v1.1")
    assert shelf.versions() == []


def test_what_is_not_there_is_said_with_what_is(shelf):
    with pytest.raises(VersionNotFound, match="holds no version of toy; train one"):
        shelf.get("current")
    publish(shelf, "v1.0")
    publish_snapshot(shelf, "2020-12-31")
    shelf.aliases.set("champion", "v1.0", who="me")
    for name in ("v1.1", "current", "2021-12-31", "../v1.0", "", "snapshot_2020-13-01"):
        with pytest.raises(
            VersionNotFound, match=r"there are v1.0, snapshot_2020-12-31; aliases: champion"
        ):
            shelf.get(name)


def test_without_verification_only_names_and_sizes_are_compared(tmp_path):
    damage(publish(shelf_at(tmp_path), "v1.0", "original"))
    assert shelf_at(tmp_path, verify_on_load=False).get("v1.0").name == "v1.0"
    with pytest.raises(VersionDamaged):
        shelf_at(tmp_path).get("v1.0")


def test_dated_names_tell_the_day_and_the_training(shelf):
    day = date(2026, 11, 21)
    name = shelf.propose(**HASHES, day=day)
    assert name == shelf.propose(**HASHES, day=day)
    assert len(name) == len("v2026-11-21-3f9c2a1")
    assert name.startswith("v2026-11-21-")
    assert name != shelf.propose(config_sha256="c" * 64, data_sha256="e" * 64, day=day)
    publish(shelf, name)
    assert shelf.propose(**HASHES, day=day) == f"{name}-2"


def test_numbered_names_go_on_from_the_highest(tmp_path):
    shelf = shelf_at(tmp_path, version_format="number")
    assert shelf.propose(**HASHES) == "v1.0"
    for name in ("v1.9", "v1.10", "v2026-11-21-3f9c2a1"):
        publish(shelf, name)
    assert shelf.propose(**HASHES) == "v1.11"
    assert shelf.propose(**HASHES, bump="major") == "v2.0"


def test_a_version_of_the_same_training_is_found_unless_damaged(shelf):
    publish(shelf, "v1.0", **HASHES)
    newer = publish(shelf, "v1.1", **HASHES)
    publish(shelf, "v1.2", **HASHES | {"data_sha256": "other"})
    assert shelf.find_equal(**HASHES).name == "v1.1"
    damage(newer)
    assert shelf.find_equal(**HASHES).name == "v1.0"
    assert shelf.find_equal(config_sha256="c", data_sha256="d") is None


def test_a_draft_is_removed_unless_published(shelf):
    with shelf.new_draft() as draft:
        (draft / "file").touch()
        assert draft.is_dir()
    assert list(draft.parent.iterdir()) == []


def test_the_draft_of_a_killed_writer_is_swept_and_that_of_a_living_one_is_not(shelf, tmp_path):
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom tests.store.stored import shelf_at\n"
        "with shelf_at(Path(sys.argv[1])).new_draft() as draft:\n"
        "    (draft / 'file').touch(); print(draft, flush=True); sys.stdin.read()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with writer:
        draft = Path(writer.stdout.readline().strip())
        publish(shelf, "v1.0")
        assert (draft / "file").exists()
        writer.kill()
    publish(shelf, "v1.1")
    assert list(draft.parent.iterdir()) == []


def test_what_a_killed_overwriting_moved_aside_is_found_and_put_back(tmp_path):
    version = publish(shelf_at(tmp_path), "v1.0", "old")
    aside = version.path.with_name(".v1.0.replaced")
    version.path.rename(aside)  # as `place` does first, then the writer is killed
    assert content(shelf_at(tmp_path).get("v1.0")) == "old"
    version.path.rename(aside)
    assert [one.name for one in shelf_at(tmp_path).versions()] == ["v1.0"]
    version.path.rename(aside)
    publish(shelf_at(tmp_path), "v1.0", "new", overwrite=True)
    assert content(shelf_at(tmp_path).restore("v1.0")) == "old"
    assert not aside.exists()


def test_a_disk_that_takes_no_more_is_told_without_a_path_and_keeps_the_old(shelf, tmp_path):
    publish(shelf, "v1.0", "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with shelf.new_draft() as draft:
        (draft / "model.safetensors").write_bytes(bytes(100))
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        try:
            with pytest.raises(StoreError, match="cannot be written: file too large") as error:
                shelf.publish(
                    draft, ModelMetadata(model_id=MODEL_ID, version="v1.0"), overwrite=True
                )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(tmp_path) not in str(error.value)
    assert content(shelf.get("v1.0")) == "old"


def test_a_root_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    shelf = shelf_at(tmp_path / "file")
    with pytest.raises(StoreError, match="not a directory"), shelf.new_draft():
        pass
    with pytest.raises(StoreError, match="not a directory"):
        shelf.checkpoints("run")


def test_many_publish_at_once_and_each_gets_a_name(tmp_path):
    def publish_one(number):
        shelf = shelf_at(tmp_path, version_format="number")
        while True:
            name = shelf.propose(**HASHES)
            try:
                return publish(shelf, name, str(number))
            except Conflict:
                continue

    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(publish_one, range(12)))
    versions = shelf_at(tmp_path).versions()
    assert {version.name for version in versions} == {f"v1.{number}" for number in range(12)}
    assert {version.name: content(version) for version in versions} == {
        version.name: str(number) for number, version in enumerate(made)
    }


def test_readers_see_a_whole_version_while_it_is_overwritten(tmp_path):
    publish(shelf_at(tmp_path), "v1.0", "0")

    def overwrite():
        for number in range(1, 30):
            publish(shelf_at(tmp_path), "v1.0", str(number), overwrite=True)

    with ThreadPoolExecutor(1) as thread:
        writing = thread.submit(overwrite)
        reads = 0
        while not writing.done() or not reads:
            assert shelf_at(tmp_path).get("v1.0").name == "v1.0"
            assert [version.name for version in shelf_at(tmp_path).versions()] == ["v1.0"]
            reads += 1
        writing.result()


def test_the_store_is_quick_to_import():
    code = "import sys, forecast.store.versions; print({'torch', 'pandas'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "set()"
