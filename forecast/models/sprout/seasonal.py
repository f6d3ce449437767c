"""What one season says of each step of the past and of the future.

Axes: N series, L steps looked back on, H future steps.
"""

from typing import NamedTuple

import numpy as np

from forecast.models.sprout.context import CONTEXT, Context, Floats, Integers, Mask, taken


class Season(NamedTuple):
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
    stale: Floats  # [N, CONTEXT], the profile with the level of a season ago


def seasonal(context: Context, season: Integers, horizon: int) -> Season:
    length = context.values.shape[1]
    level = context.mean(season).astype(np.float32)
    place, phase_start = _by_phase(length, season)
    source, ahead = _sources(length, season, horizon)
    before = np.concatenate(
        [level[:, length - CONTEXT - 1 : -1], np.repeat(level[:, -1:], horizon, axis=1)], axis=1
    )
    inside = source >= context.first[:, None]
    at = taken(place, np.maximum(source, 0))
    tile, usual, seen = _along_phases(context, level, place, phase_start)
    whole = inside & taken(seen, at)
    tile = np.where(whole, taken(tile, at), before)
    usual = np.where(inside, taken(usual, at), 0)
    ago = taken(level, np.maximum(source[:, :CONTEXT], 0))
    last, earlier = level[:, -1], _at(level, length - 1 - season)
    has_two = context.first + 2 * season <= length
    change = np.where(has_two, last - earlier, 0)
    swing = np.where(has_two, _swing(context, season), 1)
    stale = ago + usual[:, :CONTEXT]
    return Season(tile, before + usual, last, change, swing, ahead, whole, stale)


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
    context: Context, level: Floats, place: Integers, phase_start: Integers
) -> tuple[Floats, Floats, Mask]:
    """Give, sorted by phase, the last value, the usual deviation and whether there is any."""
    steps = np.arange(place.shape[1])
    order = np.empty_like(place)
    np.put_along_axis(order, place, steps[None], axis=1)
    filled = np.where(context.observed, context.values, 0)
    values, observed = taken(filled, order), taken(context.observed, order)
    deviation = taken((filled - level) * context.observed, order)
    start = taken(phase_start, order)
    latest = np.maximum.accumulate(np.where(observed, steps, -1), axis=1)
    seen = latest >= start
    tile = taken(values, np.maximum(latest, 0))
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
        total = sums[:, 1:] - taken(sums, begin)
        count = counts[:, 1:] - taken(counts, begin)
        usual += (total / np.maximum(count, 1)).astype(np.float32) / 3
    return usual


def _at(values: Floats, steps: Integers) -> Floats:
    picked: Floats = taken(values, np.maximum(steps, 0)[:, None])[:, 0]
    return picked


def _swing(context: Context, season: Integers) -> Floats:
    """Compare the spread within the last season with that of the one before."""
    squares = np.where(context.observed, context.values, 0).astype(np.float64) ** 2
    total = np.concatenate([np.zeros((len(squares), 1)), np.cumsum(squares, axis=1)], axis=1)
    length = squares.shape[1]
    spreads = []
    for ago in range(2):
        end = length - ago * season
        begin = np.maximum(end - season, 0)
        count = np.maximum(_at(context.counts, end) - _at(context.counts, begin), 1)
        mean = (_at(context.sums, end) - _at(context.sums, begin)) / count
        power = (_at(total, end) - _at(total, begin)) / count
        spreads.append(np.sqrt(np.maximum(power - mean**2, 0)) + 0.05)
    ratio: Floats = np.clip(spreads[0] / spreads[1], 0.5, 2.0).astype(np.float32)
    return ratio
