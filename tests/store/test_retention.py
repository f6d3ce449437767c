import os
import subprocess
import sys
from pathlib import Path

import pytest

from forecast.core.errors import VersionNotFound
from forecast.core.state import TrainingState
from tests.store.stored import MODEL_ID, publish, publish_snapshot, shelf_at

ROOT = Path(__file__).parents[2]


def names(shelf):
    return [version.name for version in shelf.versions()]


def test_the_newest_are_kept_and_what_an_alias_means_or_would_go_back_to(tmp_path):
    shelf = shelf_at(tmp_path, max_versions=2)
    for number in range(6):
        publish(shelf, f"v1.{number}")
    for name in ("v1.0", "v1.1", "v1.2"):
        shelf.aliases.set("current", name, who="me")
    assert shelf.retain() == ["v1.0", "v1.3"]
    assert names(shelf) == ["v1.5", "v1.4", "v1.2", "v1.1"]
    assert shelf.retain() == []
    assert shelf.aliases.rollback("current", who="me").version == "v1.1"


@pytest.mark.parametrize(
    ("lower_is_better", "kept"),
    [(True, ["v1.4", "v1.3", "v1.1"]), (False, ["v1.4", "v1.2", "v1.0"])],
)
def test_the_best_are_kept_and_the_newest_too(tmp_path, lower_is_better, kept):
    shelf = shelf_at(tmp_path, max_versions=2, keep_best_by="mase", lower_is_better=lower_is_better)
    for number, mase in enumerate([0.9, 0.1, 0.8, 0.2]):
        publish(shelf, f"v1.{number}", metrics={"mase": mase, "other": 1 - mase})
    publish(shelf, "v1.4", metrics={"mase": float("nan")})
    shelf.retain()
    assert names(shelf) == kept


def test_without_a_limit_all_are_kept(tmp_path):
    shelf = shelf_at(tmp_path, max_versions=None)
    for number in range(12):
        publish(shelf, f"v1.{number}")
    assert shelf.retain() == []


def test_snapshots_have_a_limit_of_their_own(tmp_path):
    shelf = shelf_at(tmp_path, max_snapshots=2, max_versions=1)
    publish(shelf, "v1.0")
    for year in (2018, 2021, 2019, 2020):
        publish_snapshot(shelf, f"{year}-12-31")
    shelf.aliases.set("first", "2018-12-31", who="me")
    assert shelf.retain() == ["snapshot_2019-12-31"]
    assert [one.name[9:13] for one in shelf.snapshots()] == ["2021", "2020", "2018"]


def test_a_version_in_use_stays_until_released_by_all(tmp_path):
    shelf = shelf_at(tmp_path, max_versions=1)
    for number in range(2):
        publish(shelf, f"v1.{number}")
    version = shelf.get("v1.0")
    with shelf.hold(version), shelf_at(tmp_path).hold(version):
        assert shelf.retain() == []
        assert shelf.get("v1.0") == version
    assert shelf.retain() == ["v1.0"]
    with pytest.raises(VersionNotFound):
        shelf.hold(version)


def test_a_process_that_is_killed_holds_nothing(tmp_path):
    shelf = shelf_at(tmp_path, max_versions=1)
    for number in range(2):
        publish(shelf, f"v1.{number}")
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.store.stored import shelf_at\n"
        "shelf = shelf_at(Path(sys.argv[1]))\nhold = shelf.hold(shelf.get('v1.0'))\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        assert shelf.retain() == []
        holder.kill()
        holder.wait()
        assert shelf.retain() == ["v1.0"]


def test_a_version_takes_its_backups_with_it_and_damaged_ones_stay(tmp_path):
    shelf = shelf_at(tmp_path, max_versions=1)
    publish(shelf, "v1.0")
    publish(shelf, "v1.0", overwrite=True)
    damaged = publish(shelf, "v1.1")
    (damaged.path / "config.json").unlink()
    publish(shelf, "v1.2")
    assert shelf.retain() == ["v1.0"]
    assert list((tmp_path / MODEL_ID / "backups").iterdir()) == []
    assert damaged.path.is_dir()


def save_state(folder, step, **more):
    state = {"global_step": step, "epoch": 1, "identity": "x", "state_file": f"step-{step:08d}.pt"}
    (folder / f"step-{step:08d}.pt").touch()
    (folder / f"step-{step:08d}.json").write_text(
        TrainingState.model_validate(state | more).model_dump_json()
    )


def test_the_state_of_an_unfinished_training_is_read_pruned_and_forgotten(tmp_path):
    shelf = shelf_at(tmp_path, max_checkpoints=2)
    folder = shelf.checkpoints("2020-12-31-abc")
    for step in (500, 1000, 1500, 2000):
        save_state(folder, step, best_metric=1 / step)
    (folder / "step-00001500.json").write_text("{")
    (folder / "step-00001000.pt").unlink()
    states = shelf.checkpoint_states("2020-12-31-abc")
    assert [state.global_step for state in states] == [2000, 500]
    save_state(folder, 1500)
    shelf.retain()
    assert sorted(path.name for path in folder.glob("*.json")) == [
        "step-00001500.json",
        "step-00002000.json",
    ]
    assert not (folder / "step-00000500.pt").exists()
    shelf.forget_checkpoints("2020-12-31-abc")
    shelf.forget_checkpoints("2020-12-31-abc")
    assert shelf.checkpoint_states("2020-12-31-abc") == []


def test_only_so_many_unfinished_trainings_are_kept(tmp_path):
    shelf = shelf_at(tmp_path, max_runs=2)
    for number in range(4):
        folder = shelf.checkpoints(f"run-{number}")
        os.utime(folder, ns=(number, number))
    shelf.retain()
    assert {path.name for path in folder.parent.iterdir()} == {"run-2", "run-3"}
