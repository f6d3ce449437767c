"""What is read of a MOMENT checkpoint, and what is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("momentfm", reason="its own environment has it: ./setup.sh env moment")

from forecast.core.errors import BadData
from forecast.models.moment.checkpoint import load_network
from forecast.models.moment.model import MomentModel

CPU = torch.device("cpu")


@pytest.fixture
def copy_of(folders, tmp_path):
    def make(kind="reconstruction", **changes):
        path = tmp_path / kind
        shutil.copytree(folders[kind], path)
        file = path / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))
        return path

    return make


def test_a_forecasting_head_that_was_never_trained_is_refused(copy_of):
    path = copy_of(task_name="forecasting", forecast_horizon=16)
    with pytest.raises(BadData, match="head of MOMENT has to be trained"):
        MomentModel.load_model(path, device="cpu")


def test_to_ask_a_published_checkpoint_for_a_forecasting_head_is_refused(folders):
    with pytest.raises(BadData, match=r"has to be trained.*fine-tune.*task_name reconstruction"):
        MomentModel.load_model(folders["reconstruction"], device="cpu", task_name="forecasting")


def test_to_ask_a_trained_one_for_reconstruction_is_refused(folders):
    with pytest.raises(BadData, match="leave task_name out"):
        MomentModel.load_model(folders["forecasting"], device="cpu", task_name="reconstruction")


@pytest.mark.parametrize("kind", ["reconstruction", "forecasting"])
def test_the_task_may_be_named_where_the_weights_have_it(folders, kind):
    model = MomentModel.load_model(folders[kind], device="cpu", task_name=kind)
    assert model.has_forecasting_head is (kind == "forecasting")


def test_a_missing_weight_is_refused_and_not_drawn_at_random(copy_of):
    path = copy_of()
    weights = load_file(path / "model.safetensors")
    weights["renamed"] = weights.pop("encoder.final_layer_norm.weight")
    save_file(weights, path / "model.safetensors")
    with pytest.raises(BadData, match="do not fit"):
        load_network(path, CPU)


def test_weights_of_another_size_are_refused(copy_of):
    with pytest.raises(BadData, match="do not fit"):
        load_network(copy_of(patch_len=4, patch_stride_len=4), CPU)


def test_a_damaged_file_is_refused(copy_of):
    path = copy_of()
    (path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(BadData, match="do not fit"):
        load_network(path, CPU)


def test_a_pickle_is_refused_with_what_to_do(copy_of):
    path = copy_of()
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(BadData, match=r"convert it to model\.safetensors"):
        load_network(path, CPU)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"t5_config": None}, "no t5_config"),
        ({"task_name": "classification"}, "does not forecast"),
        ({"patch_stride_len": 4}, "overlap"),
    ],
)
def test_another_models_config_is_refused(copy_of, changes, reason):
    with pytest.raises(BadData, match=reason):
        load_network(copy_of(**changes), CPU)


def test_an_adapter_is_refused(copy_of):
    path = copy_of()
    (path / "adapter_config.json").write_text("{}")
    with pytest.raises(BadData, match="merge it"):
        load_network(path, CPU)
