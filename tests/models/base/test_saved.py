"""The folder of a model: what is in it, and what is not read."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from forecast.core.errors import BadData
from forecast.core.types import ForecastTask
from forecast.models.base.config import DistributedConfig, LoraConfig
from forecast.models.base.saved import CONFIG_FILE, FORMAT_VERSION, TRAINING_FILE, read
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
