"""What the network sees: fourteen channels of each step, and numbers of the whole context.

Axes: N series, L steps looked back on, C of them that the network sees, H future steps, P patches.
"""

from typing import NamedTuple

import numpy as np

from forecast.models.sprout.context import PATCH, Context, Floats, Integers, Mask, context_of
from forecast.models.sprout.experts import expert_forecasts, in_sample_errors, skills, slope
from forecast.models.sprout.seasonal import Season, seasonal

CHANNELS = 14
SCALARS = 20
_LEAST_SPREAD = 1e-4


class Inputs(NamedTuple):
    """Batched inputs of the network, in units of each context's standard deviation.

    Attributes:
        steps: [N, P, PATCH · CHANNELS], history patches and then future ones.
        scalars: [N, SCALARS].
        empty: [N, P], patches before the first observed step.
        experts: [N, EXPERTS, H].
        skills: [N, EXPERTS], minus the logarithms of their errors in the past; 0 for the best.
        spread: [N], the smallest in-sample error of a simple forecast: the unit of intervals.
    """

    steps: Floats
    scalars: Floats
    empty: Mask
    experts: Floats
    skills: Floats
    spread: Floats


def features(values: Floats, seasons: Integers, horizon: int) -> Inputs:
    """Make the inputs of contexts that end at an observed step.

    Args:
        values: [N, L] of mean 0 and standard deviation 1, NaN where missing. The network sees the
            last L - LEAD of these steps, CONTEXT at most; both are whole patches.
        seasons: [N, 2], the shorter first; 1 for none. Twice the first stands for no second.
        horizon: future steps, a multiple of PATCH.
    """
    doubled = np.where(seasons[:, 1] > 1, seasons[:, 1], 2 * seasons[:, 0])
    doubled = np.where(seasons[:, 0] > 1, doubled, 1)
    seasons = np.stack([seasons[:, 0], doubled], axis=1)
    context = context_of(values.astype(np.float32))
    one, two = (seasonal(context, seasons[:, number], horizon) for number in range(2))
    errors = in_sample_errors(context, one, two)
    spread = np.maximum(errors.min(axis=1), _LEAST_SPREAD)
    experts = expert_forecasts(context, one, two, seasons, horizon)
    steps = _channels(context, one, two, experts, (errors[:, 0], spread), horizon)
    scalars = _scalars(context, one, two, errors, seasons)
    patches = steps.reshape(len(values), -1, PATCH * CHANNELS)
    ends = context.recent.start + PATCH * np.arange(1, patches.shape[1] + 1)
    empty = ends <= context.first[:, None]
    return Inputs(
        patches, scalars, empty, experts, skills(context, one, two, seasons[:, 0]), spread
    )


def _channels(
    context: Context,
    one: Season,
    two: Season,
    experts: Floats,
    units: tuple[Floats, Floats],
    horizon: int,
) -> Floats:
    """Describe each step of context and future: [N, C + H, CHANNELS]."""
    recent, seen = context.recent, context.seen
    naive, spread = (np.maximum(unit, 1e-3)[:, None] for unit in units)
    observed = context.observed[:, recent]
    channels = np.zeros((CHANNELS, len(observed), seen + horizon), dtype=np.float32)
    past, future = channels[..., :seen], channels[..., seen:]
    values = context.values[:, recent]
    last = context.filled[:, -1:]
    past[0] = np.where(observed, values, 0)
    past[1] = np.where(observed, (values - last) / naive, 0)
    for channel, forecast in enumerate((one.tile, two.tile, one.profile, two.profile), start=2):
        channels[channel] = forecast
    past[6] = np.where(observed, (values - one.profile[:, :seen]) / spread, 0)
    past[7] = np.where(observed, (values - two.profile[:, :seen]) / spread, 0)
    channels[8] = (one.tile - one.profile) / spread
    channels[9] = (two.tile - two.profile) / spread
    channels[10] = (one.profile - two.profile) / spread
    past[11] = (context.filled[:, recent] - context.filled[:, recent.start - 1 : -1]) / naive
    future[11] = (experts[:, 9] - last) / naive
    future[0] = experts[:, 8]
    future[1] = (experts[:, 12] - last) / naive
    future[6] = (experts[:, 14] - one.profile[:, seen:]) / spread
    future[7] = (experts[:, 11] - one.profile[:, seen:]) / spread
    _compress(channels[:12])
    past[12] = observed
    future[13] = 1
    unseen = np.arange(recent.start, recent.stop) < context.first[:, None]
    past[:, unseen] = 0
    return channels.transpose(1, 2, 0)


def _compress(values: Floats) -> None:
    """Keep small values, and of large ones the logarithm; arcsinh would take five times longer."""
    sizes = np.abs(values)
    sizes += 1
    np.log(sizes, out=sizes)
    np.copysign(sizes, values, out=values)


def _scalars(
    context: Context, one: Season, two: Season, errors: Floats, seasons: Integers
) -> Floats:
    """Describe each context as a whole: [N, SCALARS], each about -3 to 3."""
    length = (context.values.shape[1] - context.first).astype(np.float64)
    count = context.counts[:, -1]
    values = np.where(context.observed, context.values, np.inf)
    at_lowest = (values <= values.min(axis=1, keepdims=True) + 1e-5).sum(axis=1) / count
    at_highest = (
        np.where(context.observed, context.values, -np.inf)
        >= np.nanmax(context.values, axis=1, keepdims=True) - 1e-5
    ).sum(axis=1) / count
    change = np.diff(context.filled, axis=1)
    repeats = (np.abs(change) < 1e-6).sum(axis=1) - context.first
    lagged = (change[:, 1:] * change[:, :-1]).sum(axis=1)
    turning = lagged / np.maximum((change**2).sum(axis=1), 1e-6)
    last = context.filled[:, -1]
    columns = [
        *np.log(np.maximum(errors, 1e-4)).T / 2,
        np.log(length) / 3,
        *np.log(seasons).T / 3,
        *np.log(np.minimum(length[:, None] / seasons, 100)).T / 2,
        1 - count / length,
        at_lowest,
        at_highest,
        repeats / length,
        turning * 2,
        np.arcsinh(slope(context, length.astype(np.int64)) * length),
        np.arcsinh(one.change),
        np.arcsinh(two.change),
        np.log(one.swing),
        np.arcsinh(last - one.level),
    ]
    return np.stack(columns, axis=1).astype(np.float32)
