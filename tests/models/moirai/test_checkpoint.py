"""What is read of a Moirai checkpoint, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("uni2ts", reason="its own environment has it: ./setup.sh env moirai")

from forecast.core.errors import BadData
from forecast.models.moirai.checkpoint import load_network, refuse_other_code
from forecast.models.moirai.quantiles import QuantileNetwork
from forecast.models.moirai.samples import ExpertsNetwork, MixtureNetwork
from forecast.models.moirai.tiny import write_tiny

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        ("moirai2", QuantileNetwork),
        ("moirai1", MixtureNetwork),
        ("moirai-moe", ExpertsNetwork),
    ],
)
def test_the_config_says_which_kind_it_is(tmp_path, kind, network):
    write_tiny(tmp_path, kind)
    assert type(load_network(tmp_path, CPU)) is network


def test_nothing_is_printed_while_it_loads(tmp_path, capsys):
    write_tiny(tmp_path)
    load_network(tmp_path, CPU)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kind", ["moirai2", "moirai1", "moirai-moe"])
def test_a_missing_weight_is_refused_and_not_drawn_at_random(tmp_path, kind):
    write_tiny(tmp_path, kind)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop(next(name for name in weights if name.startswith("in_proj")))
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(BadData, match="do not fit"):
        load_network(tmp_path, CPU)


def test_a_pickle_is_refused_with_what_to_do(tmp_path):
    write_tiny(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(BadData, match=r"convert it to model\.safetensors"):
        load_network(tmp_path, CPU)


def test_an_adapter_is_refused(tmp_path):
    write_tiny(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(BadData, match="merge it"):
        load_network(tmp_path, CPU)


@pytest.mark.parametrize("text", ["{}", "[]", "not json", '{"d_model": 64}'])
def test_another_models_config_is_refused(tmp_path, text):
    write_tiny(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(BadData, match=r"config\.json"):
        load_network(tmp_path, CPU)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "uni2ts.distribution._base.torch.hub.load",  # passes the library's own check
        "uni2ts.distribution.mixture.torch.load",
        "uni2ts.distributionMixtureOutput",
    ],
)
def test_a_config_that_names_other_code_is_refused(tmp_path, target):
    write_tiny(tmp_path, "moirai1")
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    config["distr_output"]["components"][0] = {"_target_": target}
    file.write_text(json.dumps(config))
    with pytest.raises(BadData, match="none of Moirai's"):
        load_network(tmp_path, CPU)


def test_a_config_nested_without_end_is_refused():
    nested: dict = {}
    for _ in range(50):
        nested = {"_target_": "uni2ts.distribution.mixture.MixtureOutput", "components": [nested]}
    with pytest.raises(BadData, match="too deep"):
        refuse_other_code(nested)
