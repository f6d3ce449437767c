"""The folder of a model: what is in it, and what is not read."""

import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import forecast
from forecast.core.errors import BadData
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.models.base.config import DistributedConfig, LoraConfig, TrainingMode
from forecast.models.base.saved import (
    CONFIG_FILE,
    FORMAT_VERSION,
    TRAINING_FILE,
    TrainingRecord,
    TrainingResult,
    data_sha256,
    read,
)
from tests.models.base.linear_model import LinearConfig, LinearModel, waves

TASK = ForecastTask(horizon=4, quantile_levels=())


@pytest.fixture
def trained() -> LinearModel:
    return LinearModel(LinearConfig(device="cpu", max_epochs=1, seed=5)).fit(waves())


def saved(model: LinearModel, folder: Path) -> Path:
    model.save_model(folder)
    return folder


def changed(folder: Path, **fields: Any) -> Path:
    document = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(document | fields))
    return folder


def test_a_folder_holds_options_record_and_weights(trained, tmp_path):
    folder = saved(trained, tmp_path / "model")
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*.*")) == [
        "config.json",
        "training_metadata.json",
        "weights/linear.safetensors",
    ]
    document = json.loads((folder / CONFIG_FILE).read_text())
    assert document["format_version"] == FORMAT_VERSION
    assert document["model_id"] == "linear"
    assert LinearConfig(**document["config"]) == trained.config


def test_the_configuration_stands_in_one_file(trained, tmp_path):
    folder = saved(trained, tmp_path / "model")
    record = json.loads((folder / TRAINING_FILE).read_text())
    shared = set(record) & set(LinearConfig.model_fields)
    assert shared == {"seed"}  # of the run: with the data, what makes it repeatable
    assert "config" not in record


def test_a_model_without_a_training_has_no_record_of_one(tmp_path):
    folder = saved(LinearModel.tiny(), tmp_path / "model")
    assert not (folder / TRAINING_FILE).exists()
    assert not LinearModel.load_model(folder).is_fitted


def test_loading_gives_back_answers_options_and_record(trained, tmp_path):
    again = LinearModel.load_model(saved(trained, tmp_path / "model"))
    assert again.config == trained.config
    assert again.training_ == trained.training_
    assert again.is_fitted
    assert again.training_history_ == trained.training_history_
    assert again.best_metrics_ == trained.best_metrics_
    (one,), (other,) = (model.predict(waves(1), TASK) for model in (trained, again))
    assert (one.mean == other.mean).all()


def test_options_of_adapters_and_of_sharing_are_restored(tmp_path):
    model = LinearModel.tiny()
    model.config = LinearConfig(
        device="cpu",
        lora=LoraConfig(rank=3, target_modules=("encoder",), modules_to_save=("head",)),
        distributed=DistributedConfig(strategy="fsdp", backend="gloo", timeout_s=7),
    )
    again = LinearModel.load_model(saved(model, tmp_path / "model"))
    assert again.config == model.config


def test_options_given_on_loading_win_and_the_others_stay(trained, tmp_path):
    again = LinearModel.load_model(saved(trained, tmp_path / "model"), batch_size=3)
    assert (again.config.batch_size, again.config.seed) == (3, 5)
    with pytest.raises(ValidationError):
        LinearModel.load_model(tmp_path / "model", batch_sise=3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_id": "chronos"}, "weights of chronos, not linear"),
        ({"format_version": 2}, "of format 2; this version reads format 1"),
        ({"format_version": None}, "of format None"),
        ({"config": None}, "holds no configuration"),
    ],
)
def test_what_cannot_be_read_is_refused_and_why(trained, tmp_path, fields, message):
    folder = changed(saved(trained, tmp_path / "model"), **fields)
    with pytest.raises(BadData, match=message):
        LinearModel.load_model(folder)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "\x00"])
def test_a_spoilt_configuration_is_refused_without_a_path(trained, tmp_path, text):
    folder = saved(trained, tmp_path / "model")
    (folder / CONFIG_FILE).unlink()
    if text is not None:
        (folder / CONFIG_FILE).write_text(text)
    with pytest.raises(BadData, match="config.json of the weights") as refused:
        LinearModel.load_model(folder)
    assert str(tmp_path) not in str(refused.value)


def test_a_spoilt_record_is_refused(trained, tmp_path):
    folder = saved(trained, tmp_path / "model")
    (folder / TRAINING_FILE).write_text('{"config": {}}')
    with pytest.raises(BadData, match="training_metadata.json of the weights cannot be read"):
        LinearModel.load_model(folder)


def test_a_plain_checkpoint_is_all_weights(tmp_path):
    (tmp_path / "model.safetensors").touch()
    found = read(tmp_path, "linear")
    assert (found.config, found.weights, found.training) == ({}, tmp_path, None)


def test_a_folder_in_use_is_not_written_over(trained, tmp_path):
    folder = saved(trained, tmp_path / "model")
    before = (folder / CONFIG_FILE).read_bytes()
    with pytest.raises(FileExistsError):
        LinearModel.tiny().save_model(folder)
    assert (folder / CONFIG_FILE).read_bytes() == before


ONE = Series(
    target=np.array([[1.0, 2.0, np.nan]]),
    item_id="a",
    start=np.datetime64("2026-01-01", "s"),
    freq=Frequency.parse("D"),
    past_covariates={"price": np.array([1.0, 2.0, 3.0])},
    static_covariates={"store": "north"},
)


def test_a_fit_leaves_a_record_of_what_it_saw():
    before = datetime.now(UTC)
    dated = [
        replace(one, start=np.datetime64("2026-01-01", "s"), freq=Frequency.parse("D"))
        for one in waves(2, length=40)
    ]
    later = [replace(one.last(30), item_id="later") for one in dated[:1]]
    model = LinearModel(LinearConfig(device="cpu", max_epochs=2, seed=3))
    model.fit(dated, later, data_reference="waves, made up")
    record = model.training_
    assert record is not None
    assert record.metrics == model.best_metrics_
    assert record.history == model.training_history_
    assert record.mode is TrainingMode.FROM_SCRATCH
    assert before <= record.started_at <= record.finished_at <= datetime.now(UTC)
    assert record.seed == 3
    assert record.cutoff == datetime(2026, 2, 9, 23, 59, 59, tzinfo=UTC)
    assert record.item_ids == ("wave 0", "wave 1", "later")
    assert record.num_points == 40 + 40 + 30
    assert record.data_sha256 == data_sha256([*dated, *later])
    assert record.data_reference == "waves, made up"


def test_without_times_there_is_no_cutoff():
    assert record_of(waves(1)).cutoff is None


def record_of(series: list[Series]) -> TrainingRecord:
    return TrainingRecord.of(
        TrainingResult(),
        series,
        started_at=datetime.now(UTC),
        mode=TrainingMode.FINE_TUNE,
        seed=None,
        data_reference=None,
    )


def test_the_commit_and_the_versions_are_those_of_the_code_that_ran():
    record = record_of(waves(1))
    assert record.library_versions["torch"] == version("torch")
    assert record.library_versions["numpy"] == np.__version__
    assert record.library_versions["forecast"] == forecast.__version__
    root = Path(forecast.__file__).parents[1]
    if not (root / ".git").exists():
        assert (record.git_commit, record.git_dirty) == (None, None)
        return
    assert record.git_commit == git(root, "rev-parse", "HEAD")
    changed = git(root, "status", "--porcelain", "--untracked-files=no")
    assert record.git_dirty is bool(changed)


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_record_is_written_as_json_and_read_back_equal():
    record = record_of([ONE])
    assert TrainingRecord.model_validate_json(record.model_dump_json()) == record
    assert json.loads(record.model_dump_json())["cutoff"] == "2026-01-03T23:59:59Z"


def test_equal_data_has_an_equal_hash_whatever_arrays_it_is_in():
    wider = np.array([[9.0, 1.0, 2.0, np.nan]])[:, 1:]
    same = replace(ONE, target=np.asfortranarray(wider))
    assert data_sha256([same]) == data_sha256([ONE])


@pytest.mark.parametrize(
    "change",
    [
        {"target": np.array([[1.0, 2.0, 3.0]])},
        {"target": np.array([[np.nextafter(1.0, 2), 2.0, np.nan]])},
        {"target": np.array([[1.0, np.nan, 2.0]])},
        {"item_id": "b"},
        {"start": np.datetime64("2026-01-02", "s")},
        {"freq": Frequency.parse("h")},
        {"channels": ("x",)},
        {"past_covariates": {"price": np.array([1.0, 2.0, 4.0])}},
        {"past_covariates": {"cost": np.array([1.0, 2.0, 3.0])}},
        {"static_covariates": {"store": "south"}},
    ],
)
def test_other_data_has_another_hash(change):
    assert data_sha256([replace(ONE, **change)]) != data_sha256([ONE])


def test_so_has_data_in_another_order_or_cut_elsewhere():
    first, second = (replace(ONE, item_id=name, past_covariates={}) for name in "ab")
    assert data_sha256([first, second]) != data_sha256([second, first])
    longer, shorter = (
        [Series(np.ones((1, n))), Series(np.ones((1, 5 - n)))] for n in (2, 3)
    )  # as many values
    assert data_sha256(longer) != data_sha256(shorter)
