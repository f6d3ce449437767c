"""What the network sees: seasonal experts, and fourteen channels of each step.

Axes: N series, L steps looked back on, H future steps, E experts, P patches.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

LOOK_BACK = 768  # steps the experts use
CONTEXT = 512  # steps the network sees, one by one
BLOCK = 128  # future steps of one pass
PATCH = 16
CHANNELS = 14
EXPERTS = 16
SEASONAL_EXPERTS = (4, 5, 6, 7, 10, 12, 13, 14)
SCALARS = 20
_LEAST_SPREAD = 1e-4
_FARTHEST = 15.0  # standard deviations that an expert may go


class Inputs(NamedTuple):
    """Batched inputs of the network, in units of each context's standard deviation.

    Attributes:
        steps: [N, P, PATCH · CHANNELS], history patches and then future ones.
        scalars: [N, SCALARS].
        empty: [N, P], patches before the first observed step.
        experts: [N, EXPERTS, H].
        spread: [N], the smallest in-sample error of a simple forecast: the unit of intervals.
    """

    steps: Floats
    scalars: Floats
    empty: Mask
    experts: Floats
    spread: Floats


class _Known(NamedTuple):
    """A batch of contexts, with running sums for means of any window."""

    values: Floats  # [N, L], NaN where missing
    observed: Mask
    filled: Floats  # the last observed value, at each step
    sums: Floats  # [N, L + 1]
    counts: Floats  # [N, L + 1]
    first: Integers  # [N], the first observed step

    def mean(self, width: Integers) -> Floats:
        """Average the observed values of the last `width` steps [N], at each step: [N, L]."""
        starts = np.maximum(np.arange(1, self.values.shape[1] + 1) - width[:, None], 0)
        total = self.sums[:, 1:] - np.take_along_axis(self.sums, starts, axis=1)
        count = self.counts[:, 1:] - np.take_along_axis(self.counts, starts, axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), self.filled)

    def latest_mean(self, width: int) -> Floats:
        """Average the observed values of the last `width` steps of the context: [N]."""
        total = self.sums[:, -1] - self.sums[:, -1 - width]
        count = self.counts[:, -1] - self.counts[:, -1 - width]
        return np.where(count > 0, total / np.maximum(count, 1), self.filled[:, -1])


class _Season(NamedTuple):
    """What one season says of each step of the context and of the future: [N, CONTEXT + H].

    Attributes:
        tile: the value a season ago.
        profile: the level, plus the usual deviation of this phase from it.
        level: [N], the mean of the last season; `change`: since the season before.
        swing: ratio of the spreads of the last two seasons.
        ahead: [N, H], seasons between each future step and the step its tile is taken from.
    """

    tile: Floats
    profile: Floats
    level: Floats
    change: Floats
    swing: Floats
    ahead: Floats
    whole: Mask  # where the tile was observed


def features(values: Floats, seasons: Integers, horizon: int) -> Inputs:
    """Make the inputs of contexts that end at an observed step.

    Args:
        values: [N, L] of mean 0 and standard deviation 1, NaN where missing.
        seasons: [N, 2], the shorter first; 1 for none. Twice the first stands for no second.
        horizon: future steps, a multiple of PATCH.
    """
    doubled = np.where(seasons[:, 1] > 1, seasons[:, 1], 2 * seasons[:, 0])
    doubled = np.where(seasons[:, 0] > 1, doubled, 1)
    seasons = np.stack([seasons[:, 0], doubled], axis=1)
    known = _known(values.astype(np.float32))
    one, two = (_seasonal(known, seasons[:, number], horizon) for number in range(2))
    errors = _errors(known, one, two)
    spread = np.maximum(errors.min(axis=1), _LEAST_SPREAD)
    experts = _experts(known, one, two, seasons, horizon)
    steps = _channels(known, one, two, experts, (errors[:, 0], spread), horizon)
    scalars = _scalars(known, one, two, errors, seasons)
    patches = steps.reshape(len(values), -1, PATCH * CHANNELS)
    ends = LOOK_BACK - CONTEXT + PATCH * np.arange(1, patches.shape[1] + 1)
    return Inputs(patches, scalars, ends <= known.first[:, None], experts, spread)


def _known(values: Floats) -> _Known:
    observed = ~np.isnan(values)
    steps = np.arange(values.shape[1])
    latest = np.maximum.accumulate(np.where(observed, steps, 0), axis=1)
    first = observed.argmax(axis=1)
    latest = np.maximum(latest, first[:, None])
    filled = np.take_along_axis(values, latest, axis=1)
    start = np.zeros((len(values), 1))
    known = np.where(observed, values, 0)
    sums = np.concatenate([start, np.cumsum(known, axis=1, dtype=np.float64)], axis=1)
    counts = np.concatenate([start, np.cumsum(observed, axis=1, dtype=np.float64)], axis=1)
    return _Known(values, observed, filled, sums, counts, first)


def _seasonal(known: _Known, season: Integers, horizon: int) -> _Season:
    length = known.values.shape[1]
    level = known.mean(season).astype(np.float32)
    place, phase_start = _by_phase(length, season)
    source, ahead = _sources(length, season, horizon)
    before = np.concatenate(
        [level[:, length - CONTEXT - 1 : -1], np.repeat(level[:, -1:], horizon, axis=1)], axis=1
    )
    inside = source >= known.first[:, None]
    at = np.take_along_axis(place, np.maximum(source, 0), axis=1)
    tile, usual, seen = _along_phases(known, level, place, phase_start)
    whole = inside & np.take_along_axis(seen, at, axis=1)
    tile = np.where(whole, np.take_along_axis(tile, at, axis=1), before)
    profile = before + np.where(inside, np.take_along_axis(usual, at, axis=1), 0)
    last, earlier = level[:, -1], _at(level, length - 1 - season)
    has_two = known.first + 2 * season <= length
    change = np.where(has_two, last - earlier, 0)
    swing = np.where(has_two, _swing(known, season), 1)
    return _Season(tile, profile, last, change, swing, ahead, whole)


def _by_phase(length: int, season: Integers) -> tuple[Integers, Integers]:
    """Say where each step stands if steps are sorted by their phase, and where phases begin."""
    cycle, phase = np.divmod(np.arange(length), season[:, None])
    quotient, rest = np.divmod(length, season[:, None])
    start = phase * quotient + np.minimum(phase, rest)
    return start + cycle, start


def _sources(length: int, season: Integers, horizon: int) -> tuple[Integers, Floats]:
    """Name the latest known step of the same phase, and how many seasons ago it is."""
    past = np.arange(length - CONTEXT, length) - season[:, None]
    seasons_ahead = np.arange(horizon) // season[:, None] + 1
    future = length + np.arange(horizon) - seasons_ahead * season[:, None]
    return np.concatenate([past, future], axis=1), seasons_ahead.astype(np.float32)


def _along_phases(
    known: _Known, level: Floats, place: Integers, phase_start: Integers
) -> tuple[Floats, Floats, Mask]:
    """Give, sorted by phase, the last value, the usual deviation and whether there is any."""
    size = known.values.shape
    values, deviation, observed, start = (
        np.empty(size, np.float32),
        np.empty(size, np.float32),
        np.empty(size, bool),
        np.empty(size, np.int64),
    )
    filled = np.where(known.observed, known.values, 0)
    np.put_along_axis(values, place, filled, axis=1)
    np.put_along_axis(deviation, place, (filled - level) * known.observed, axis=1)
    np.put_along_axis(observed, place, known.observed, axis=1)
    np.put_along_axis(start, place, phase_start, axis=1)
    steps = np.arange(size[1])
    latest = np.maximum.accumulate(np.where(observed, steps, -1), axis=1)
    seen = latest >= start
    tile = np.take_along_axis(values, np.maximum(latest, 0), axis=1)
    return tile, _usual(deviation, observed, start), seen


def _usual(deviation: Floats, observed: Mask, start: Integers) -> Floats:
    """Average the last 2, 4 and 10 deviations of each phase, and average the three means."""
    zero = np.zeros((len(deviation), 1))
    sums = np.concatenate([zero, np.cumsum(deviation, axis=1, dtype=np.float64)], axis=1)
    counts = np.concatenate([zero, np.cumsum(observed, axis=1, dtype=np.float32)], axis=1)
    ends = np.arange(1, deviation.shape[1] + 1)
    usual = np.zeros(deviation.shape, dtype=np.float32)
    for cycles in (2, 4, 10):
        begin = np.maximum(ends - cycles, start)
        total = sums[:, 1:] - np.take_along_axis(sums, begin, axis=1)
        count = counts[:, 1:] - np.take_along_axis(counts, begin, axis=1)
        usual += (total / np.maximum(count, 1)).astype(np.float32) / 3
    return usual


def _at(values: Floats, steps: Integers) -> Floats:
    picked: Floats = np.take_along_axis(values, np.maximum(steps, 0)[:, None], axis=1)[:, 0]
    return picked


def _swing(known: _Known, season: Integers) -> Floats:
    """Compare the spread within the last season with that of the one before."""
    squares = np.where(known.observed, known.values, 0).astype(np.float64) ** 2
    total = np.concatenate([np.zeros((len(squares), 1)), np.cumsum(squares, axis=1)], axis=1)
    length = squares.shape[1]
    spreads = []
    for ago in range(2):
        end = length - ago * season
        begin = np.maximum(end - season, 0)
        count = np.maximum(_at(known.counts, end) - _at(known.counts, begin), 1)
        mean = (_at(known.sums, end) - _at(known.sums, begin)) / count
        power = (_at(total, end) - _at(total, begin)) / count
        spreads.append(np.sqrt(np.maximum(power - mean**2, 0)) + 0.05)
    ratio: Floats = np.clip(spreads[0] / spreads[1], 0.5, 2.0).astype(np.float32)
    return ratio


def _errors(known: _Known, one: _Season, two: _Season) -> Floats:
    """Average the in-sample errors of naive, tiles and profiles: [N, 5]."""
    recent = slice(known.values.shape[1] - CONTEXT, None)
    actual = np.where(known.observed, known.values, 0)[:, recent]
    previous = known.filled[:, recent.start - 1 : -1]
    begun = np.arange(CONTEXT) + recent.start > known.first[:, None]
    usable = known.observed[:, recent] & begun
    naive = _mean_error(actual - previous, usable)
    columns = [np.where(usable.any(axis=1), naive, 1.0)]
    for season in (one, two):
        whole = usable & season.whole[:, :CONTEXT]
        for forecast in (season.tile, season.profile):
            error = _mean_error(actual - forecast[:, :CONTEXT], whole)
            enough = whole.sum(axis=1) >= 3
            columns.append(np.where(enough, error, columns[0]))
    return np.stack(columns, axis=1).astype(np.float32)


def _mean_error(difference: Floats, usable: Mask) -> Floats:
    error: Floats = (np.abs(difference) * usable).sum(axis=1) / np.maximum(usable.sum(axis=1), 1)
    return error


def _slope(known: _Known, width: Integers) -> Floats:
    """Fit a line to the observed values of the last `width` steps [N]: its slope [N]."""
    length = known.values.shape[1]
    back = np.arange(length, dtype=np.float32) - (length - 1)
    weight = (known.observed & (back > -width[:, None])).astype(np.float32)
    count = np.maximum(weight.sum(axis=1), 1)
    centre = (weight @ back) / count
    apart = (back - centre[:, None]) * weight
    power = (apart**2).sum(axis=1)
    product = (apart * np.where(known.observed, known.values, 0)).sum(axis=1)
    slope: Floats = np.where(power > 0, product / np.maximum(power, 1e-6), 0)
    return slope


def _experts(known: _Known, one: _Season, two: _Season, seasons: Integers, horizon: int) -> Floats:
    """Forecast each future step in simple ways: [N, EXPERTS, H]."""
    last = known.filled[:, -1]
    ahead = np.arange(1, horizon + 1, dtype=np.float32)
    flat = np.ones(horizon, dtype=np.float32)
    length = known.values.shape[1] - known.first
    short = np.minimum(np.maximum(2 * seasons[:, 0], 12), length)
    long_slope = _slope(known, length)
    damped = np.cumsum(0.95**ahead)
    tiles, profiles = (
        [s.tile[:, CONTEXT:] for s in (one, two)],
        [s.profile[:, CONTEXT:] for s in (one, two)],
    )
    recent = [_recent_miss(known, s, seasons[:, 0]) for s in (one, two)]
    drift = one.change / seasons[:, 0]
    centre = known.latest_mean(20)
    level = np.where(seasons[:, 0] > 1, one.level, centre)
    experts = [
        last[:, None] * flat,
        known.latest_mean(5)[:, None] * flat,
        centre[:, None] * flat,
        known.latest_mean(known.values.shape[1])[:, None] * flat,
        *tiles,
        *profiles,
        last[:, None] + long_slope[:, None] * ahead,
        last[:, None] + _slope(known, short)[:, None] * damped,
        tiles[0] + one.change[:, None] * one.ahead,
        level[:, None]
        + one.change[:, None] * one.ahead
        + (tiles[0] - level[:, None]) * one.swing[:, None] ** np.minimum(one.ahead, 2),
        profiles[0] + drift[:, None] * (ahead + (seasons[:, :1] - 1) / 2),
        profiles[1] + recent[1][1][:, None],
        tiles[1] + recent[1][0][:, None],
        profiles[0] + long_slope[:, None] * (ahead + (seasons[:, :1] - 1) / 2),
    ]
    return np.clip(np.stack(experts, axis=1), -_FARTHEST, _FARTHEST).astype(np.float32)


def _recent_miss(known: _Known, season: _Season, width: Integers) -> tuple[Floats, Floats]:
    """Average what tile and profile have missed over the last `width` steps."""
    recent = slice(known.values.shape[1] - CONTEXT, None)
    weight = known.observed[:, recent] & season.whole[:, :CONTEXT]
    weight &= np.arange(CONTEXT) >= CONTEXT - np.maximum(width, 3)[:, None]
    actual = np.where(known.observed, known.values, 0)[:, recent]
    count = np.maximum(weight.sum(axis=1), 1)
    tile, profile = (
        ((actual - forecast[:, :CONTEXT]) * weight).sum(axis=1) / count
        for forecast in (season.tile, season.profile)
    )
    return tile, profile


def _channels(
    known: _Known,
    one: _Season,
    two: _Season,
    experts: Floats,
    units: tuple[Floats, Floats],
    horizon: int,
) -> Floats:
    """Describe each step of context and future: [N, CONTEXT + H, CHANNELS]."""
    count, length = known.values.shape
    recent = slice(length - CONTEXT, None)
    naive, spread = (np.maximum(unit, 1e-3)[:, None] for unit in units)
    observed = known.observed[:, recent]
    steps = np.zeros((count, CONTEXT + horizon, CHANNELS), dtype=np.float32)
    past, future = steps[:, :CONTEXT], steps[:, CONTEXT:]
    values = known.values[:, recent]
    last = known.filled[:, -1:]
    past[..., 0] = np.where(observed, values, 0)
    past[..., 1] = np.where(observed, (values - last) / naive, 0)
    for channel, forecast in enumerate((one.tile, two.tile, one.profile, two.profile), start=2):
        steps[..., channel] = forecast
    past[..., 6] = np.where(observed, (values - one.profile[:, :CONTEXT]) / spread, 0)
    past[..., 7] = np.where(observed, (values - two.profile[:, :CONTEXT]) / spread, 0)
    steps[..., 8] = (one.tile - one.profile) / spread
    steps[..., 9] = (two.tile - two.profile) / spread
    steps[..., 10] = (one.profile - two.profile) / spread
    past[..., 11] = (known.filled[:, recent] - known.filled[:, length - CONTEXT - 1 : -1]) / naive
    future[..., 11] = (experts[:, 9] - last) / naive
    future[..., 0] = experts[:, 8]
    future[..., 1] = (experts[:, 12] - last) / naive
    future[..., 6] = (experts[:, 14] - one.profile[:, CONTEXT:]) / spread
    future[..., 7] = (experts[:, 11] - one.profile[:, CONTEXT:]) / spread
    steps[..., :12] = np.arcsinh(steps[..., :12])
    past[..., 12] = observed
    future[..., 13] = 1
    unseen = np.arange(length - CONTEXT, length) < known.first[:, None]
    past[unseen] = 0
    return steps


def _scalars(
    known: _Known, one: _Season, two: _Season, errors: Floats, seasons: Integers
) -> Floats:
    """Describe each context as a whole: [N, SCALARS], each about -3 to 3."""
    length = (known.values.shape[1] - known.first).astype(np.float64)
    count = known.counts[:, -1]
    values = np.where(known.observed, known.values, np.inf)
    at_lowest = (values <= values.min(axis=1, keepdims=True) + 1e-5).sum(axis=1) / count
    at_highest = (
        np.where(known.observed, known.values, -np.inf)
        >= np.nanmax(known.values, axis=1, keepdims=True) - 1e-5
    ).sum(axis=1) / count
    change = np.diff(known.filled, axis=1)
    repeats = (np.abs(change) < 1e-6).sum(axis=1) - known.first
    lagged = (change[:, 1:] * change[:, :-1]).sum(axis=1)
    turning = lagged / np.maximum((change**2).sum(axis=1), 1e-6)
    last = known.filled[:, -1]
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
        np.arcsinh(_slope(known, length.astype(np.int64)) * length),
        np.arcsinh(one.change),
        np.arcsinh(two.change),
        np.log(one.swing),
        np.arcsinh(last - one.level),
    ]
    return np.stack(columns, axis=1).astype(np.float32)
