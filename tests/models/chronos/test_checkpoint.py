import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from forecast.core.errors import BadData
from forecast.models.chronos.model import ChronosModel
from forecast.models.chronos.tiny import BOLT_SIZES, write_bolt


@pytest.fixture(params=["t5", "bolt", "chronos2"])
def folder(request: pytest.FixtureRequest, folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(folders[request.param], tmp_path / "copy"))


def edit_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def refused(folder: Path) -> str:
    with pytest.raises(BadData) as error:
        ChronosModel.load_model(folder, device="cpu")
    assert str(folder) not in str(error.value)
    return str(error.value)


def test_the_layout_is_safetensors_and_json_only(folder):
    assert {file.suffix for file in folder.iterdir()} == {".safetensors", ".json"}


def test_pickled_weights_alone_are_refused_with_the_way_out(folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert "convert it to model.safetensors" in refused(folder)


def test_pickled_weights_beside_safe_ones_are_never_opened(folder):
    (folder / "pytorch_model.bin").write_bytes(b"not a pickle")
    ChronosModel.load_model(folder, device="cpu")


def test_a_folder_without_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    assert "no model.safetensors" in refused(folder)


def test_a_folder_without_a_config_is_refused(folder):
    (folder / "config.json").unlink()
    assert "no config.json" in refused(folder)


def test_a_config_that_is_not_json_is_refused(folder):
    (folder / "config.json").write_text("{")
    assert "no config.json that can be read" in refused(folder)


def test_a_checkpoint_of_another_model_is_refused(folder):
    edit_config(folder, chronos_config=None)
    assert "no checkpoint of Chronos" in refused(folder)


def test_a_kind_that_is_not_known_is_refused_with_those_that_are(folder):
    edit_config(folder, chronos_pipeline_class="Chronos9Pipeline")
    assert "'Chronos9Pipeline'" in (text := refused(folder))
    assert "Chronos2Pipeline" in text


def test_weights_of_another_size_are_refused(folder):
    edit_config(folder, d_ff=48)
    assert "do not fit" in refused(folder)


def test_weights_that_are_missing_are_refused_rather_than_made_up(folder):
    weights = load_file(folder / "model.safetensors")
    lost = next(name for name in sorted(weights) if "layer_norm" in name)
    save_file(
        {name: tensor for name, tensor in weights.items() if name != lost},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    assert lost in refused(folder)


def test_a_file_cut_short_is_refused(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "do not fit" in refused(folder)


def test_an_adapter_is_refused_with_the_way_out(folder):
    (folder / "adapter_config.json").write_text("{}")
    assert "merge it" in refused(folder)


def test_code_beside_the_weights_is_never_run(folder):
    (folder / "evil.py").write_text("raise SystemExit('code from outside was run')\n")
    edit_config(
        folder,
        auto_map={"AutoConfig": "evil.Config", "AutoModel": "evil.Model"},
        attn_implementation="somebody/kernel",
        _attn_implementation="somebody/kernel",
    )
    ChronosModel.load_model(folder, device="cpu")


def test_half_precision_weights_are_widened(folder):
    weights = load_file(folder / "model.safetensors")
    narrow = {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}
    save_file(narrow, folder / "model.safetensors", metadata={"format": "pt"})
    edit_config(folder, dtype="bfloat16")
    module = ChronosModel.load_model(folder, device="cpu").network
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert torch.get_default_dtype() == torch.float32


def test_a_tokenizer_of_another_kind_is_refused(folders, tmp_path):
    folder = Path(shutil.copytree(folders["t5"], tmp_path / "copy"))
    config = json.loads((folder / "config.json").read_text())["chronos_config"]
    edit_config(folder, chronos_config=config | {"tokenizer_class": "BaseChronosPipeline"})
    assert "tokenizer 'BaseChronosPipeline'" in refused(folder)


def test_a_decoder_without_an_encoder_is_refused(folders, tmp_path):
    folder = Path(shutil.copytree(folders["t5"], tmp_path / "copy"))
    config = json.loads((folder / "config.json").read_text())["chronos_config"]
    edit_config(folder, chronos_config=config | {"model_type": "causal"})
    assert "seq2seq" in refused(folder)


def test_a_real_size_checkpoint_has_the_published_number_of_weights(tmp_path):
    assert set(BOLT_SIZES) == {"tiny", "mini", "small", "base"}
    write_bolt(tmp_path, "tiny")
    model = ChronosModel.load_model(tmp_path, device="cpu")
    count = sum(parameter.numel() for parameter in model.network.parameters())
    assert round(count / 1e6, 2) == 8.65
