"""Our network against the Time-LLM of neuralforecast, with the same weights and words."""

import os
import random

import numpy as np
import pytest
import torch
from torch import nn

from forecast.models.timellm.language import load_language_model
from forecast.models.timellm.network import TimeLlmNetwork
from forecast.models.timellm.spec import TimeLlmConfig

CONFIG = TimeLlmConfig(
    context_length=16,
    horizon=4,
    hidden_dim=8,
    num_attention_heads=2,
    head_dim=8,
    patch_length=8,
    patch_stride=4,
    num_prototypes=1024,  # theirs cannot be set
    domain="Hourly load. ",
    quantile_levels=(0.5,),
)
OUTPUTS = 2


class Untouched(nn.Module):
    def forward(self, values: torch.Tensor, mode: str) -> torch.Tensor:
        return values


@pytest.fixture
def library():
    """Undo what the library does to the process when it makes a network: it seeds everything."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        from neuralforecast.models import TimeLLM

        yield TimeLLM
    random.setstate(states[0])
    np.random.set_state(states[1])
    os.environ.pop("PL_GLOBAL_SEED", None)


def test_it_answers_as_the_library_does(library, language_folder):
    torch.manual_seed(0)
    language = load_language_model(language_folder, 6, torch.device("cpu"))
    ours = TimeLlmNetwork(CONFIG, language, OUTPUTS).eval()
    theirs = library(
        h=CONFIG.horizon * OUTPUTS,
        input_size=CONFIG.context_length,
        patch_len=CONFIG.patch_length,
        stride=CONFIG.patch_stride,
        d_ff=CONFIG.head_dim,
        d_llm=language.width,
        d_model=CONFIG.hidden_dim,
        n_heads=CONFIG.num_attention_heads,
        enc_in=1,
        llm=str(language_folder),
        prompt_prefix=CONFIG.domain,
    ).eval()
    theirs.h = CONFIG.horizon  # what the prompt says
    theirs.normalize_layers = Untouched()  # contexts come relative to their own level
    found = theirs.load_state_dict(ours.reprogramming.state_dict(), strict=False)
    assert not found.unexpected_keys
    assert all(name.startswith(("llm.", "word_embeddings")) for name in found.missing_keys)

    halves = np.array([0.5, -1.5, 1.5, 2.5, -0.5, 0.5, 1.5, -2.5] * 2)  # the same in any digits
    rows = np.stack([halves, np.roll(halves, 3), -halves])
    past = torch.tensor(rows, dtype=torch.float32)[:, None]  # [3, 1, T]
    with torch.inference_mode():
        together = ours(past)
        for number in range(3):  # theirs pads the prompts of a batch unseen, so one at a time
            expected = theirs.forecast(past[number].T[None])  # [1, H * O, 1]
            torch.testing.assert_close(
                together[number, 0].flatten(), expected.flatten(), rtol=1e-4, atol=1e-5
            )
