"""What one season says of each step of the past and of the future.

Axes: N series, L steps looked back on, C of them that the network sees, H future steps, K whole
seasons of S steps that end with the last step.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forecast.models.sprout.context import (
    Context,
    Floats,
    Integers,
    Kind,
    Mask,
    by_season,
    over_last,
    running,
)


class Season(NamedTuple):
    """What one season says of each step of the context and of the future: [N, C + H].

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
    stale: Floats  # [N, C], the profile with the level of a season ago


def seasonal(context: Context, seasons: Integers, horizon: int) -> Season:
    """Describe each context by its season [N]."""
    parts = [
        (rows, _described(context.of(rows), season, horizon)) for season, rows in by_season(seasons)
    ]
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    columns = zip(*(part for _, part in parts), strict=True)
    return Season._make(np.concatenate(column)[order] for column in columns)


def _described(context: Context, season: int, horizon: int) -> Season:
    length, seen = context.values.shape[1], context.seen
    level = context.mean(season).astype(np.float32)
    before = np.concatenate(
        [level[:, length - seen - 1 : -1], np.repeat(level[:, -1:], horizon, axis=1)], axis=1
    )
    by_phase = _along_phases(context, level, season)
    tile, usual = (_moved_on(cycles, seen, horizon) for cycles in by_phase[:2])
    known = _moved_on(by_phase[2], seen, horizon)
    ago = np.zeros((len(level), seen), dtype=np.float32)
    reached = min(seen, length - season)
    if reached > 0:
        ago[:, seen - reached :] = level[:, length - season - reached : length - season]
    has_two = context.first + 2 * season <= length
    earlier = level[:, max(length - 1 - season, 0)]
    return Season(
        tile=np.where(known, tile, before),
        profile=before + usual,
        level=level[:, -1],
        change=np.where(has_two, level[:, -1] - earlier, 0),
        swing=np.where(has_two, _swing(context, season), 1),
        ahead=np.repeat(np.arange(horizon, dtype=np.float32)[None] // season + 1, len(level), 0),
        whole=known,
        stale=ago + usual[:, :seen],
    )


def _along_phases(context: Context, level: Floats, season: int) -> tuple[Floats, Floats, Mask]:
    """Give the last value, the usual deviation and whether there is any, by phase: [N, K, S]."""
    observed = _in_seasons(context.observed, context.seen, season)
    values = np.where(context.observed, context.values, 0)
    deviation = _in_seasons((values - level) * context.observed, context.seen, season)
    values = _in_seasons(values, context.seen, season)
    cycles = np.arange(observed.shape[1])[:, None]
    latest = np.maximum.accumulate(np.where(observed, cycles, -1), axis=1)
    tile = np.take_along_axis(values, np.maximum(latest, 0), axis=1)
    return tile, _usual(deviation, observed), latest >= 0


def _in_seasons(values: npt.NDArray[Kind], seen: int, season: int) -> npt.NDArray[Kind]:
    """Fold steps [N, L] into whole seasons, with room for what was a season before: [N, K, S]."""
    count, length = values.shape
    cycles = -(-max(length, seen + season) // season)
    folded = np.zeros((count, cycles * season), dtype=values.dtype)
    folded[:, cycles * season - length :] = values
    return folded.reshape(count, cycles, season)


def _moved_on(cycles: npt.NDArray[Kind], seen: int, horizon: int) -> npt.NDArray[Kind]:
    """Say of each step what was true a season before, of future ones in the last: [N, C + H]."""
    count, _, season = cycles.shape
    last = np.resize(np.arange(season), horizon)
    steps = cycles.reshape(count, -1)
    end = steps.shape[1] - season
    moved: npt.NDArray[Kind] = np.concatenate(
        [steps[:, end - seen : end], cycles[:, -1, last]], axis=1
    )
    return moved


def _usual(deviation: Floats, observed: Mask) -> Floats:
    """Average the last 2, 4 and 10 deviations of each phase, and average the three means."""
    sums, counts = running(deviation), running(observed)
    usual = np.zeros(deviation.shape, dtype=np.float32)
    for cycles in (2, 4, 10):
        mean = over_last(sums, cycles) / np.maximum(over_last(counts, cycles), 1)
        usual += mean.astype(np.float32) / 3
    return usual


def _swing(context: Context, season: int) -> Floats:
    """Compare the spread within the last season with that of the one before."""
    length = context.values.shape[1]
    spreads = []
    for ago in range(2):
        end = max(length - ago * season, 0)
        steps = slice(max(end - season, 0), end)
        values = np.where(context.observed[:, steps], context.values[:, steps], 0)
        count = np.maximum(context.observed[:, steps].sum(axis=1), 1)
        mean = values.sum(axis=1, dtype=np.float64) / count
        power = (values.astype(np.float64) ** 2).sum(axis=1) / count
        spreads.append(np.sqrt(np.maximum(power - mean**2, 0)) + 0.05)
    ratio: Floats = np.clip(spreads[0] / spreads[1], 0.5, 2.0).astype(np.float32)
    return ratio
