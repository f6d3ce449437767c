"""Training windows: simulated series, cut, with gaps and hints, as the network's inputs."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from forecast.models.sprout.context import (
    BLOCK,
    CONTEXT,
    LOOK_BACK,
    PATCH,
    Floats,
    Integers,
    Mask,
)
from forecast.models.sprout.features import Inputs, features
from forecast.models.sprout.generator.drawing import Random, log_uniform
from forecast.models.sprout.generator.simulation import hints, simulate
from forecast.models.sprout.prepared import Prepared, prepare
from forecast.models.sprout.scaling import standardise

_FARTHEST = 30.0  # standard deviations that a target may lie away
_HORIZONS = (16, 32, 48, 64, 96, 128)


class Windows(NamedTuple):
    """Inputs, and what came after them.

    Attributes:
        targets: [N, BLOCK], in the units of the inputs.
        weights: [N, BLOCK], of each step in the loss; each row sums to 1, or to 0.
    """

    inputs: Inputs
    targets: Floats
    weights: Floats

    @property
    def horizon(self) -> int:
        """The longest horizon asked, in whole patches."""
        asked = int((self.weights > 0).any(axis=0).sum())
        return max(PATCH, -(-asked // PATCH) * PATCH)

    def trimmed(self) -> "Windows":
        """Leave out what is empty in every window: the first patches, and the last steps."""
        begin, horizon = int(self.inputs.empty.all(axis=0).argmin()), self.horizon
        end = (CONTEXT + horizon) // PATCH
        inputs = self.inputs._replace(
            steps=self.inputs.steps[:, begin:end],
            empty=self.inputs.empty[:, begin:end],
            experts=self.inputs.experts[:, :, :horizon],
        )
        return Windows(inputs, self.targets[:, :horizon], self.weights[:, :horizon])

    def parts(self, size: int) -> Iterator["Windows"]:
        """Split into batches of windows that are about equally long, each trimmed."""
        order = np.argsort(self.inputs.empty.sum(axis=1), kind="stable")
        for rows in np.split(order, range(size, len(order), size)):
            inputs = Inputs._make(values[rows] for values in self.inputs)
            yield Windows(inputs, self.targets[rows], self.weights[rows]).trimmed()


def training_windows(rng: Random, count: int) -> Windows:
    """Simulate a batch of windows."""
    simulated = simulate(rng, count)
    past, future = simulated.values[:, :LOOK_BACK].copy(), simulated.values[:, LOOK_BACK:]
    past[np.arange(LOOK_BACK) < LOOK_BACK - simulated.seen[:, None]] = np.nan
    _cut_gaps(rng, past)
    prepared = prepare(past)
    told = hints(rng, simulated.seasons)
    seasons = np.where(told > 0, told, prepared.found)
    values, targets, varies = in_units_of_the_past(prepared, future)
    weights = _weights(rng, simulated.seen) * varies
    return Windows(features(values, seasons, BLOCK), targets, weights)


def in_units_of_the_past(prepared: Prepared, future: Floats) -> tuple[Floats, Floats, Mask]:
    """Standardise prepared contexts, and the steps [N, H] after them with them.

    Returns:
        the contexts [N, L], the targets [N, H], and whether a context varies [N, 1].
    """
    values, centre, scale = standardise(prepared.values)
    varies = scale[:, None] > 0
    ahead = (prepared.apply(future) - centre[:, None]) / np.where(varies, scale[:, None], 1.0)
    return values, np.clip(ahead, -_FARTHEST, _FARTHEST), varies


def _cut_gaps(rng: Random, past: Floats) -> None:
    """Blank single steps in some rows and whole stretches in others; never the last step."""
    rows = np.flatnonzero(rng.random(len(past)) < 0.06)
    missing = rng.random((len(rows), LOOK_BACK)) < log_uniform(rng, 0.01, 0.6, (len(rows), 1))
    longer = np.flatnonzero(rng.random(len(past)) < 0.06)
    begin = rng.integers(LOOK_BACK // 3, LOOK_BACK, (len(longer), 1))
    steps = np.arange(LOOK_BACK)
    stretch = (steps >= begin) & (steps < begin + rng.integers(2, 120, (len(longer), 1)))
    for chosen, blank in ((rows, missing), (longer, stretch)):
        blank[:, -1] = False
        past[chosen] = np.where(blank, np.nan, past[chosen])


def _weights(rng: Random, seen: Integers) -> Floats:
    """Ask for one horizon in the whole batch, less where little is seen."""
    horizon = np.minimum(np.maximum(2 * seen, PATCH), rng.choice(_HORIZONS))[:, None]
    asked = (np.arange(BLOCK) < horizon).astype(np.float64)
    weights: Floats = asked / asked.sum(axis=1, keepdims=True)
    return weights
