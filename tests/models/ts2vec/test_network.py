import numpy as np
import pytest
import torch

from forecast.models.ts2vec.network import Encoder


@pytest.fixture
def encoder():
    """An encoder with weights that the authors' code was given too."""
    made = Encoder(2, hidden=4, depth=3, outputs=3, dropout=0.1).eval()
    with torch.no_grad():
        for number, weight in enumerate(made.state_dict().values()):
            numbers = torch.arange(weight.numel(), dtype=torch.float64) + number
            weight.copy_((0.3 * torch.sin(numbers)).reshape(weight.shape))
    return made


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (6, [[-0.138862, -0.143476, 0.427126], [-0.276782, -0.112611, 0.532992]]),
        (20, [[-0.132933, -0.150242, 0.430024], [-0.264902, -0.118089, 0.528032]]),
    ],
)
def test_representations_are_those_of_the_authors(encoder, steps, expected):
    """Their `TSEncoder`, zhihanyue/ts2vec at b0088e14; the first two steps of one are missing.

    The last block looks 8 steps around: further than the window of 6 reaches.
    """
    rows = torch.cos(0.9 * torch.arange(2 * steps * 2)).reshape(2, steps, 2).transpose(1, 2)
    observed = torch.ones(2, steps, dtype=torch.bool)
    observed[0, :2] = False
    with torch.no_grad():
        found = encoder(rows, observed)[:, -1]
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)


def test_training_hides_about_half_of_the_steps(encoder):
    hidden = Encoder(1, hidden=1, depth=0, outputs=1, dropout=0.0).train()
    seen = []
    hidden.blocks.register_forward_pre_hook(lambda _, given: seen.append(given[0] != 0))
    torch.manual_seed(0)
    hidden(torch.ones(20, 1, 200), torch.ones(20, 200, dtype=torch.bool))
    assert 0.45 < seen[0].float().mean() < 0.55
    assert not torch.equal(seen[0][0], seen[0][1])
