import numpy as np
import pytest
import torch

from forecast.models.lstm.network import SegmentLstm
from tests.models.lstm.waves import config_of

ALONE = {"channels": 1, "covariates": 0, "known": 0}
TOGETHER = {"channels": 3, "covariates": 2, "known": 1}


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


class ByHand:
    """The network in NumPy, written from its description, one series and one cell at a time."""

    def __init__(self, network, width, horizon, outputs):
        self.w = {name: value.double().numpy() for name, value in network.state_dict().items()}
        self.width, self.horizon, self.outputs = width, horizon, outputs

    def run(self, lstm, inputs, state):
        """Hochreiter & Schmidhuber 1997, in the order of torch: input, forget, cell, output."""
        outputs, (hidden, cell) = [], state
        for step in inputs:
            gates = (
                self.w[f"{lstm}.weight_ih_l0"] @ step
                + self.w[f"{lstm}.bias_ih_l0"]
                + self.w[f"{lstm}.weight_hh_l0"] @ hidden
                + self.w[f"{lstm}.bias_hh_l0"]
            )
            enter, forget, new, leave = np.split(gates, 4)
            cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(new)
            hidden = sigmoid(leave) * np.tanh(cell)
            outputs.append(hidden)
        return outputs, (hidden, cell)

    def segments(self, rows):
        lacking = -rows.shape[1] % self.width
        padded = np.pad(rows, ((0, 0), (lacking, 0)))
        count = padded.shape[1] // self.width
        return [padded[:, self.width * i : self.width * (i + 1)].ravel() for i in range(count)]

    def forecast(self, past, past_covariates, future_covariates, identity=0, effects=...):
        """Forecast channels that are read together: [C, H, O]."""
        moves = past - past[:, -1:]
        read = [
            np.maximum(self.w["read.weight"] @ segment + self.w["read.bias"], 0)
            for segment in self.segments(np.concatenate([moves, past_covariates]))
        ]
        zeros = np.zeros(self.w["position"].shape[1])
        _, state = self.run("encoder", read, (zeros, zeros))
        steps = self.width * len(self.w["position"])
        ahead = np.zeros((len(future_covariates), steps))
        ahead[:, : future_covariates.shape[1]] = future_covariates
        told = [
            position + segment @ self.w["known"] + self.w["identity"][identity]
            for position, segment in zip(self.w["position"], self.segments(ahead), strict=True)
        ]
        answer = np.empty((len(past), steps, self.outputs))
        for number, state_then in enumerate(self.run("decoder", told, state)[0]):
            written = self.w["write.weight"] @ state_then + self.w["write.bias"]
            for step in range(self.width):
                block = written.reshape(self.width, len(past), self.outputs)[step]
                answer[:, number * self.width + step] = block
        straight = moves @ self.w["line.weight"].T + past[:, -1:]
        straight += self.w["effects"][effects] @ ahead[:, : self.horizon]
        return answer[:, : self.horizon] + straight[..., None]


def network_of(shape, **changes):
    torch.manual_seed(0)
    config = config_of(context_length=10, horizon=7, hidden_dim=5, **changes)
    network = SegmentLstm(config, **shape).eval()
    for weight in (network.line.weight, network.effects):
        torch.nn.init.normal_(weight, std=0.3)
    return network, ByHand(network, config.segment_length, 7, 1 + len(config.quantile_levels))


def inputs_of(shape, future=7):
    torch.manual_seed(1)
    sizes = ((3, shape["channels"], 10), (3, shape["covariates"], 10), (3, shape["known"], future))
    return [torch.randn(size) for size in sizes]


@pytest.mark.parametrize("future", [7, 5])
@pytest.mark.parametrize("segment_length", [1, 4, 16])
@pytest.mark.parametrize("shape", [ALONE, TOGETHER])
def test_channels_that_are_joined_are_forecast_as_described(shape, segment_length, future):
    network, by_hand = network_of(shape, segment_length=segment_length)
    inputs = inputs_of(shape, future)
    with torch.no_grad():
        answers = network(*inputs).numpy()
    for number, answer in enumerate(answers):
        own = [each[number].double().numpy() for each in inputs]
        np.testing.assert_allclose(answer, by_hand.forecast(*own), atol=1e-5)


def test_channels_that_are_independent_are_forecast_alone_and_known_by_their_number():
    network, by_hand = network_of(TOGETHER, channel_mode="independent")
    inputs = inputs_of(TOGETHER)
    with torch.no_grad():
        answers = network(*inputs).numpy()
    for number, answer in enumerate(answers):
        past, *covariates = (each[number].double().numpy() for each in inputs)
        for channel in range(3):
            own = {"identity": channel, "effects": [channel]}
            alone = by_hand.forecast(past[[channel]], *covariates, **own)
            np.testing.assert_allclose(answer[[channel]], alone, atol=1e-5)
