import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from forecast.core.errors import BadData
from forecast.models.ttm.library import (
    TinyTimeMixerForDecomposedPrediction,
    TinyTimeMixerForPrediction,
)
from forecast.models.ttm.model import TTMModel
from forecast.models.ttm.tiny import write_tiny


@pytest.fixture
def folder(kind: str, folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(folders[kind], tmp_path / "copy"))


def edit_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def refused(folder: Path) -> str:
    with pytest.raises(BadData) as error:
        TTMModel.load_model(folder, device="cpu")
    assert str(folder) not in str(error.value)
    return str(error.value)


def test_the_layout_is_safetensors_and_json_only(folder):
    assert {file.suffix for file in folder.iterdir()} == {".safetensors", ".json"}


def test_the_class_is_the_one_that_the_config_names(models):
    assert type(models["r3"].network) is TinyTimeMixerForPrediction
    assert type(models["r3-dec"].network) is TinyTimeMixerForDecomposedPrediction


def test_a_config_without_a_class_is_of_the_first_release(folders, tmp_path):
    shutil.copytree(folders["r2"], tmp_path / "copy")
    edit_config(tmp_path / "copy", architectures=None)
    loaded = TTMModel.load_model(tmp_path / "copy", device="cpu")
    assert type(loaded.network) is TinyTimeMixerForPrediction


def test_a_class_that_does_not_forecast_is_refused_with_those_that_do(folder):
    edit_config(folder, architectures=["TinyTimeMixerForMaskedPrediction"])
    assert "TinyTimeMixerForDecomposedPrediction" in refused(folder)


def test_a_checkpoint_of_another_model_is_refused(folder):
    edit_config(folder, model_type="patchtst")
    assert "no TinyTimeMixer" in refused(folder)


def test_a_folder_without_a_readable_config_is_refused(folder):
    (folder / "config.json").write_text("{")
    assert "no config.json" in refused(folder)


def test_pickled_weights_alone_are_refused_with_the_way_out(folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    assert "no model.safetensors" in refused(folder)
    torch.save(weights, folder / "pytorch_model.bin")
    assert "convert it to model.safetensors" in refused(folder)


def test_pickled_weights_beside_safe_ones_are_never_opened(folder):
    (folder / "pytorch_model.bin").write_bytes(b"not a pickle")
    TTMModel.load_model(folder, device="cpu")


def test_an_adapter_is_refused_with_the_way_out(folder):
    (folder / "adapter_config.json").write_text("{}")
    assert "merge it" in refused(folder)


def test_code_beside_the_weights_is_never_run(folder):
    (folder / "evil.py").write_text("raise SystemExit('code from outside was run')\n")
    edit_config(folder, auto_map={"AutoConfig": "evil.Config", "AutoModel": "evil.Model"})
    TTMModel.load_model(folder, device="cpu")


def test_weights_of_another_size_are_refused(folder):
    edit_config(folder, d_model=32)
    assert "do not fit" in refused(folder)


def test_a_config_that_makes_no_network_is_refused(folder):
    edit_config(folder, patch_length=8, patch_stride=4)
    assert "do not fit" in refused(folder)


def test_a_file_cut_short_is_refused(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "do not fit" in refused(folder)


def test_weights_that_are_missing_are_refused_rather_than_made_up(folder):
    weights = load_file(folder / "model.safetensors")
    lost = next(name for name in sorted(weights) if "patch_mixer" in name)
    kept = {name: tensor for name, tensor in weights.items() if name != lost}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    assert lost in refused(folder)


def test_half_precision_weights_are_widened(folder):
    weights = load_file(folder / "model.safetensors")
    narrow = {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}
    save_file(narrow, folder / "model.safetensors", metadata={"format": "pt"})
    edit_config(folder, dtype="bfloat16")
    network = TTMModel.load_model(folder, device="cpu").network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_a_network_with_covariates_from_elsewhere_is_refused_for_it_does_not_name_them(tmp_path):
    write_tiny(
        tmp_path,
        num_input_channels=3,
        prediction_channel_indices=[0],
        exogenous_channel_indices=[1, 2],
        enable_forecast_channel_mixing=True,
        decoder_mode="mix_channel",
    )
    assert "holds no features.json" in refused(tmp_path)


def test_features_of_another_network_are_refused(folder):
    (folder / "features.json").write_text("{}")
    assert "do not fit" in refused(folder)


def test_frequencies_numbered_otherwise_are_refused(tmp_path):
    write_tiny(tmp_path, resolution_prefix_tuning=True, frequency_token_vocab_size=5)
    assert "numbers frequencies otherwise" in refused(tmp_path)


def test_static_categories_are_refused(tmp_path):
    write_tiny(tmp_path, categorical_vocab_size_list=[3], decoder_mode="mix_channel")
    assert "static categories" in refused(tmp_path)
