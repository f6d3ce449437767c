"""Our network against the TiDE of neuralforecast, layer for layer, with the same weights."""

import os
import random

import numpy as np
import pytest
import torch

from forecast.models.tide.network import Rows, TideNetwork
from forecast.models.tide.spec import TideConfig

pytest.importorskip("neuralforecast")

CONTEXT, HORIZON, OUTPUTS = 12, 5, 3
OURS_ALONE = "known_skip.weight"
CONFIG = TideConfig(
    context_length=CONTEXT,
    horizon=HORIZON,
    hidden_dim=16,
    num_layers=2,
    decoder_dim=4,
    temporal_decoder_dim=8,
    temporal_width=3,
)


@pytest.fixture
def library():
    """Undo what the library does to the process when it makes a network: it seeds everything."""
    states = random.getstate(), np.random.get_state(), dict(os.environ)
    with torch.random.fork_rng(devices=[]):
        from neuralforecast.losses.pytorch import MAE, BasePointLoss
        from neuralforecast.models import TiDE

        yield TiDE, MAE, BasePointLoss
    random.setstate(states[0])
    np.random.set_state(states[1])
    os.environ.pop("PL_GLOBAL_SEED", None)
    os.environ.update(states[2])


def theirs_with(library, ours: TideNetwork, **covariates):
    tide, _, loss = library
    network = tide(
        h=HORIZON,
        input_size=CONTEXT,
        hidden_size=CONFIG.hidden_dim,
        decoder_output_dim=CONFIG.decoder_dim,
        temporal_decoder_dim=CONFIG.temporal_decoder_dim,
        temporal_width=CONFIG.temporal_width,
        num_encoder_layers=CONFIG.num_layers,
        num_decoder_layers=CONFIG.num_layers,
        layernorm=True,
        loss=loss(outputsize_multiplier=OUTPUTS, output_names=["a", "b", "c"]),
        **covariates,
    ).eval()
    narrow = ["temporal_decoder"]  # blocks to few numbers: see the test below
    narrow += [
        f"{kind}_exog_projection" for kind in ("hist", "futr") if f"{kind}_exog_list" in covariates
    ]
    for name in narrow:
        getattr(network, name).layernorm = False
    shared = {name: value for name, value in ours.state_dict().items() if name != OURS_ALONE}
    found = network.load_state_dict(shared, strict=False)
    assert not found.unexpected_keys
    assert set(found.missing_keys) == {
        f"{name}.norm.{part}" for name in narrow for part in ("weight", "bias")
    }
    return network


def drawn(rows: Rows) -> TideNetwork:
    torch.manual_seed(0)
    network = TideNetwork(CONFIG, rows, OUTPUTS).eval()
    for weight in network.parameters():  # what starts at zero would compare nothing
        torch.nn.init.normal_(weight, std=0.3)
    if rows.known:
        torch.nn.init.zeros_(network.get_parameter(OURS_ALONE))
    return network


def test_without_covariates_it_answers_as_the_library_does(library):
    ours = drawn(Rows())
    theirs = theirs_with(library, ours)
    past = torch.randn(4, 1, CONTEXT)
    with torch.inference_mode():
        expected = theirs(
            {
                "insample_y": past.transpose(1, 2),
                "hist_exog": None,
                "futr_exog": None,
                "stat_exog": None,
            }
        )
        answer = ours(past, torch.zeros(4, 0, CONTEXT), torch.zeros(4, 0, HORIZON))
    torch.testing.assert_close(answer[:, 0], expected)


def test_with_covariates_of_every_kind_it_answers_as_the_library_does(library):
    ours = drawn(Rows(past=(1,), known=(0, 2), static=(3, 4)))
    theirs = theirs_with(
        library,
        ours,
        hist_exog_list=["b"],
        futr_exog_list=["a", "c"],
        stat_exog_list=["s", "t"],
    )
    past = torch.randn(4, 1, CONTEXT)
    covariates, future = torch.randn(4, 5, CONTEXT), torch.randn(4, 2, HORIZON)
    known = torch.cat([covariates[:, [0, 2]], future], dim=2)
    with torch.inference_mode():
        expected = theirs(
            {
                "insample_y": past.transpose(1, 2),
                "hist_exog": covariates[:, [1]].transpose(1, 2),
                "futr_exog": known.transpose(1, 2),
                "stat_exog": covariates[:, [3, 4], -1],
            }
        )
        answer = ours(past, covariates, future)
    torch.testing.assert_close(answer[:, 0], expected)


def test_the_library_with_a_layer_norm_to_the_end_says_the_same_of_every_step(library):
    """Why the last block of ours has none: over one number a layer norm leaves its bias."""
    tide, mae, _ = library
    theirs = tide(h=HORIZON, input_size=CONTEXT, hidden_size=8, loss=mae()).eval()
    with torch.inference_mode():
        seen = theirs.temporal_decoder(torch.randn(6, HORIZON, 32))
    torch.testing.assert_close(seen, torch.zeros_like(seen))
