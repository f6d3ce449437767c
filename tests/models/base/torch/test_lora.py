import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from forecast.core.errors import InvalidRequest, MissingLibrary
from forecast.core.types import ForecastTask
from forecast.models.base.config import LoraConfig
from forecast.models.base.torch.model import TorchModel
from tests.models.base.linear_model import LinearConfig, LinearModel, waves, weights_of

TASK = ForecastTask(horizon=4, quantile_levels=())


def adapting(lora: LoraConfig | None, **options) -> LinearModel:
    """A model with made-up weights that is about to be fine-tuned."""
    model = LinearModel.tiny()
    model.config = LinearConfig(lora=lora, max_epochs=2, device="cpu", **options)
    return model


def wrapped(model: TorchModel, network: nn.Module) -> nn.Module:
    """The network as it is trained."""
    model.model_ = network
    return model._before_training(network)


def test_only_the_adapted_layers_change():
    model = adapting(LoraConfig(rank=2, target_modules=("encoder",)))
    before = weights_of(model)
    model.fit(waves())
    changed = {name for name, value in weights_of(model).items() if not value.equal(before[name])}
    assert {name for name in changed if "norm" not in name} == {"encoder.weight"}


def test_the_layers_that_the_family_names_are_adapted_where_none_are_asked_for():
    model = adapting(LoraConfig(rank=2))
    names = [name for name, weight in wrapped(model, model.network).named_parameters()
             if weight.requires_grad]  # fmt: skip
    assert names
    assert all("encoder.lora_" in name for name in names)


def test_one_regular_expression_chooses_layers_by_their_whole_name():
    model = adapting(LoraConfig(target_modules="enc.*|head"))
    network = wrapped(model, model.network)
    assert sorted(network.targeted_module_names) == ["encoder", "head"]


def test_without_a_lora_configuration_all_weights_are_trained():
    model = adapting(None)
    before = weights_of(model)
    model.fit(waves())
    assert not any(
        value.equal(before[name])
        for name, value in weights_of(model).items()
        if name in ("encoder.weight", "head.weight", "head.bias")
    )


def test_the_merged_network_predicts_what_its_adapters_did():
    model = adapting(LoraConfig(rank=2))
    seen = []

    class Watching(LinearModel):
        def _after_training(self, network):
            network.eval()
            seen.append(network(*window))
            return super()._after_training(network)

    window = torch.randn(3, 1, 16), torch.ones(3, 1, 16, dtype=torch.bool)
    before = model.network(*window)
    watching = Watching(model.config)
    watching.model_ = model.model_
    watching.fit(waves())
    merged = watching.network(*window)
    assert type(watching.network) is type(model.network)
    torch.testing.assert_close(merged, seen[0])
    assert not torch.allclose(merged, before)


def test_a_network_trained_with_adapters_can_be_trained_whole_afterwards():
    model = adapting(LoraConfig(rank=2))
    model.fit(waves())
    assert all(weight.requires_grad for weight in model.network.parameters())
    model.fit(waves())  # and with adapters again, without a word from peft


def test_the_weights_on_disk_that_it_started_from_are_untouched(tmp_path):
    LinearModel.tiny().save_model(tmp_path / "base")
    before = contents(tmp_path / "base")
    tuned = LinearModel.load_model(tmp_path / "base", lora=LoraConfig(rank=2), max_epochs=1)
    tuned.fit(waves())
    tuned.save_model(tmp_path / "tuned")
    assert contents(tmp_path / "base") == before
    again = LinearModel.load_model(tmp_path / "tuned")
    assert again.config.lora == LoraConfig(rank=2)
    (one,), (other,) = (m.predict(waves(1), TASK) for m in (tuned, again))
    assert (one.mean == other.mean).all()


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_layer_to_save_is_trained_whole_beside_the_adapters():
    model = adapting(LoraConfig(target_modules=r".*", modules_to_save=("head",)))
    before = weights_of(model)
    model.fit(waves())
    after = weights_of(model)
    assert not after["head.bias"].equal(before["head.bias"])
    assert after["encoder.bias"].equal(before["encoder.bias"])
    assert sorted(after) == sorted(before)


@pytest.mark.parametrize(
    ("lora", "field"),
    [
        (LoraConfig(target_modules=("q_proj",)), "/lora/target_modules"),
        (LoraConfig(target_modules=("encoder", "q_proj")), "/lora/target_modules"),
        (LoraConfig(target_modules="q_proj.*"), "/lora/target_modules"),
        (LoraConfig(target_modules=("norm",)), "/lora/target_modules"),
        (LoraConfig(modules_to_save=("q_proj",)), "/lora/modules_to_save"),
    ],
)
def test_a_name_that_matches_no_layer_is_refused_and_layers_are_named(lora, field):
    model = adapting(lora)
    before = weights_of(model)
    with pytest.raises(InvalidRequest, match=r"matches no layer.*encoder.*head") as refused:
        model.fit(waves())
    assert refused.value.errors[0].pointer == field
    assert all(value.equal(before[name]) for name, value in weights_of(model).items())
    model.config = LinearConfig(max_epochs=1, lora=LoraConfig(rank=2), device="cpu")
    model.fit(waves())  # the refusal left nothing behind


def test_without_peft_the_extra_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingLibrary, match=r"peft.*forecast-gateway\[lora\]"):
        adapting(LoraConfig()).fit(waves())


pytest_bolt = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest_bolt
def test_less_than_a_twentieth_of_the_weights_of_a_real_size_network_is_trained(tmp_path):
    bolt = pytest.importorskip("chronos.chronos_bolt")
    from forecast.models.chronos.tiny import write_bolt

    write_bolt(tmp_path, "small")
    network = bolt.ChronosBoltModelForForecasting.from_pretrained(tmp_path)
    total = sum(weight.numel() for weight in network.parameters())
    assert total > 40_000_000
    names = set(dict(network.named_parameters()))
    model = adapting(LoraConfig(rank=8, target_modules=("q", "k", "v", "o")))
    adapted = wrapped(model, network)
    trained = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    assert 0 < trained < 0.05 * total
    assert set(dict(model._after_training(adapted).named_parameters())) == names
