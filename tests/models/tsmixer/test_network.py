"""The network, held to neuralforecast's of the same paper with the same weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from forecast.core.errors import BadData
from forecast.models.tsmixer.network import Architecture, TSMixerNetwork

STEPS, HORIZON, CHANNELS = 10, 4, 3


def made_up() -> TSMixerNetwork:
    torch.manual_seed(0)
    network = TSMixerNetwork(
        Architecture(
            context_length=STEPS,
            horizon=HORIZON,
            num_channels=CHANNELS,
            hidden_dim=8,
            num_layers=2,
            dropout=0.0,
        )
    )
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + ("var" in name) + ("gain" in name))
    return network.eval()


@pytest.mark.filterwarnings("ignore")  # of what neuralforecast imports
def test_it_answers_as_neuralforecasts_does_with_the_same_weights():
    tsmixer = pytest.importorskip("neuralforecast.models.tsmixer")
    ours = made_up()
    theirs = tsmixer.TSMixer(
        h=HORIZON, input_size=STEPS, n_series=CHANNELS, n_block=2, ff_dim=8, dropout=0.0
    ).eval()
    theirs.load_state_dict(as_theirs(ours), strict=False)
    past = 50 + 10 * torch.randn(5, CHANNELS, STEPS)
    answer = ours(past, torch.ones_like(past, dtype=torch.bool))
    expected = theirs({"insample_y": past.transpose(1, 2)}).transpose(1, 2)
    torch.testing.assert_close(answer, expected, rtol=1e-5, atol=1e-4)


def as_theirs(network: TSMixerNetwork) -> dict[str, torch.Tensor]:
    """Rename weights; theirs flattens the steps before the channels in the second half."""
    weights = {
        "norm.affine_weight": network.gain.view(1, 1, -1),
        "norm.affine_bias": network.offset.view(1, 1, -1),
        "out.weight": network.head.weight,
        "out.bias": network.head.bias,
    }
    parts = {
        "temporal_mixer.temporal_norm": "step_norm",
        "temporal_mixer.temporal_lin": "steps",
        "feature_mixer.feature_norm": "channel_norm",
        "feature_mixer.feature_lin_1": "widen",
        "feature_mixer.feature_lin_2": "narrow",
    }
    for number, block in enumerate(network.blocks):
        for theirs, ours in parts.items():
            for name, value in block.get_submodule(ours).state_dict().items():
                if ours == "channel_norm" and value.ndim:
                    value = value.view(CHANNELS, STEPS).T.flatten()
                weights[f"mixing_layers.{number}.{theirs}.{name}"] = value
    return weights


def test_a_batch_of_one_window_can_be_learned_from():
    network = made_up().train()
    past = torch.randn(1, CHANNELS, STEPS)
    network(past, torch.ones_like(past, dtype=torch.bool)).sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_padding_does_not_move_the_level():
    network = made_up()
    past = torch.tensor([1.0, 3.0]).repeat(CHANNELS, STEPS // 2)[None]
    observed = torch.ones_like(past, dtype=torch.bool)
    observed[..., :4] = False
    shifted = past.clone()
    shifted[..., :4] = 1000.0
    moved = (network(past, observed) - network(past - 2, observed)).detach().numpy()
    np.testing.assert_allclose(moved, 2.0, rtol=1e-3)
    assert not torch.allclose(network(shifted, observed), network(past, observed))


def test_it_is_saved_and_read_whole(tmp_path: Path):
    network = made_up()
    network.save(tmp_path)
    read = TSMixerNetwork.load(tmp_path)
    assert read.architecture == network.architecture
    past = torch.randn(2, CHANNELS, STEPS)
    observed = torch.ones_like(past, dtype=torch.bool)
    assert torch.equal(read(past, observed), network(past, observed))


@pytest.mark.parametrize("spoil", ["network.json", "model.safetensors"])
def test_a_spoilt_folder_is_refused(tmp_path: Path, spoil: str):
    made_up().save(tmp_path)
    (tmp_path / spoil).write_bytes(b"spoilt")
    with pytest.raises(BadData, match="no TSMixer"):
        TSMixerNetwork.load(tmp_path)
    (tmp_path / spoil).unlink()
    with pytest.raises(BadData, match="no TSMixer"):
        TSMixerNetwork.load(tmp_path)
