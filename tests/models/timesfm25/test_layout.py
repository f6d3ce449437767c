import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from timesfm.timesfm_2p5.timesfm_2p5_base import TimesFM_2p5_200M_Definition
from timesfm.timesfm_2p5.timesfm_2p5_torch import TimesFM_2p5_200M_torch_module
from transformers import TimesFm2_5ModelForPrediction

from forecast.core.errors import BadData
from forecast.models.timesfm25.layout import (
    definition_of,
    read_tensors,
    to_native,
    to_transformers,
)
from forecast.models.timesfm25.model import TimesFM25Model
from forecast.models.timesfm25.tiny import tiny_tensors, write_tiny


@pytest.mark.parametrize("layout", ["native", "transformers"])
def test_either_layout_reads_as_the_same_tensors(layout, tmp_path):
    write_tiny(tmp_path, layout)
    found, made = read_tensors(tmp_path), tiny_tensors()
    assert found.keys() == made.keys()
    assert all(torch.equal(found[name], made[name]) for name in made)


def test_renaming_there_and_back_changes_nothing():
    native = tiny_tensors()
    back = to_native(to_transformers(native))
    assert back.keys() == native.keys()
    assert all(torch.equal(back[name], native[name]) for name in native)


def test_transformers_loads_the_tiny_checkpoint_without_a_tensor_missing(tmp_path):
    write_tiny(tmp_path, "transformers")
    _, loading = TimesFm2_5ModelForPrediction.from_pretrained(
        tmp_path, output_loading_info=True, local_files_only=True
    )
    assert not any(loading.values())


def test_the_published_size_is_derived_from_the_shapes_of_its_tensors():
    with torch.device("meta"):
        published = TimesFM_2p5_200M_torch_module().state_dict()
    assert definition_of(published) == TimesFM_2p5_200M_Definition()


def test_a_tiny_size_is_derived_too():
    found = definition_of(tiny_tensors())
    assert found.stacked_transformers.num_layers == 2
    assert found.stacked_transformers.transformer.num_heads == 4
    assert (found.input_patch_len, found.output_patch_len, found.output_quantile_len) == (
        32,
        128,
        1024,
    )


def test_half_precision_is_read_as_float32(tmp_path):
    save_file(
        {name: each.half() for name, each in tiny_tensors().items()}, tmp_path / "model.safetensors"
    )
    assert {each.dtype for each in read_tensors(tmp_path).values()} == {torch.float32}


def test_a_folder_without_safetensors_is_refused(tmp_path):
    (tmp_path / "torch_model.ckpt").write_bytes(b"a pickle")
    with pytest.raises(BadData, match="no model.safetensors"):
        TimesFM25Model.load_model(tmp_path)


def test_a_damaged_file_is_refused(tmp_path):
    write_tiny(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BadData, match="damaged"):
        TimesFM25Model.load_model(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    save_file({"shared.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(BadData, match="not TimesFM 2.5"):
        TimesFM25Model.load_model(tmp_path)


@pytest.mark.parametrize("lost", ["stacked_xf.1.ff0.weight", "tokenizer.output_layer.weight"])
def test_a_missing_tensor_is_refused(lost, tmp_path):
    write_tiny(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    del tensors[lost]
    save_file(dict(tensors), file)
    with pytest.raises(BadData, match="tensors are not those"):
        TimesFM25Model.load_model(tmp_path)
