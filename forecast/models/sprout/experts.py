"""Simple forecasts, which the network weighs, and how wrong they were in the past."""

import numpy as np

from forecast.models.sprout.context import (
    Context,
    Floats,
    Integers,
    Mask,
    by_season,
    over_last,
    running,
)
from forecast.models.sprout.seasonal import Season

EXPERTS = 16
TREND_EXPERTS = (8, 9, 10, 11, 12, 15)
_FARTHEST = 15.0  # standard deviations that an expert may go


def in_sample_errors(context: Context, one: Season, two: Season) -> Floats:
    """Average the in-sample errors of naive, tiles and profiles: [N, 5]."""
    recent = context.recent
    actual = np.where(context.observed, context.values, 0)[:, recent]
    previous = context.filled[:, recent.start - 1 : -1]
    begun = np.arange(recent.start, recent.stop) > context.first[:, None]
    usable = context.observed[:, recent] & begun
    naive = _mean_error(actual - previous, usable)
    columns = [np.where(usable.any(axis=1), naive, 1.0)]
    for season in (one, two):
        whole = usable & season.whole[:, : context.seen]
        for forecast in (season.tile, season.profile):
            error = _mean_error(actual - forecast[:, : context.seen], whole)
            enough = whole.sum(axis=1) >= 3
            columns.append(np.where(enough, error, columns[0]))
    return np.stack(columns, axis=1).astype(np.float32)


def skills(context: Context, one: Season, two: Season, first: Integers) -> Floats:
    """Say how good each expert was in the past: minus the logarithm of its error [N, EXPERTS].

    The best has 0. Seasonal ones are measured a season ahead; the others share the error of
    values some steps ago, or that of the mean.
    """
    recent = context.recent
    actual = np.where(context.observed, context.values, 0)[:, recent]
    naive = np.mean([_changes(context, lag) for lag in (1, 8, 24)], axis=0)
    mean = np.abs(actual).sum(axis=1) / np.maximum(context.observed[:, recent].sum(axis=1), 1)
    tiles: list[Floats] = []
    profiles: list[Floats] = []
    for season in (one, two):
        whole = context.observed[:, recent] & season.whole[:, : context.seen]
        enough = whole.sum(axis=1) >= 3
        for errors, forecast in ((tiles, season.tile), (profiles, season.stale)):
            error = _mean_error(actual - forecast[:, : context.seen], whole)
            errors.append(np.where(enough, error, naive))
    columns = [naive, naive, naive, mean, *tiles, *profiles, naive, naive]
    columns += [tiles[0], tiles[0], profiles[0]]
    columns += [
        _corrected_error(context, two.whole, forecast, first) for forecast in (two.stale, two.tile)
    ]
    columns.append(profiles[0])
    logs = np.log(np.maximum(np.stack(columns, axis=1), 1e-3))
    skill: Floats = np.maximum(logs.min(axis=1, keepdims=True) - logs, -4).astype(np.float32)
    return skill


def _corrected_error(context: Context, whole: Mask, forecast: Floats, width: Integers) -> Floats:
    """Average the errors of a forecast moved by what it missed a first season before: [N]."""
    recent, seen = context.recent, context.seen
    usable = context.observed[:, recent] & whole[:, :seen]
    actual = np.where(context.observed, context.values, 0)[:, recent]
    missed = np.where(usable, actual - forecast[:, :seen], 0)
    before, count = np.zeros((2, *missed.shape))
    for season, rows in by_season(width):
        for values, total in ((missed, before), (usable, count)):
            windows = over_last(running(values[rows]), max(season, 3))
            total[rows, season:] = windows[:, : max(seen - season, 0)]
    usable = usable & (count > 0)
    error = _mean_error(missed - before / np.maximum(count, 1), usable)
    return np.where(usable.sum(axis=1) >= 3, error, 1.0)


def _changes(context: Context, lag: int) -> Floats:
    """Return the mean absolute difference over `lag` steps [N]; 1 with fewer than three pairs."""
    recent = context.recent
    earlier = slice(recent.start - lag, recent.stop - lag)
    both = context.observed[:, recent] & context.observed[:, earlier]
    now, before = context.values[:, recent], context.values[:, earlier]
    error = _mean_error(np.where(both, now - before, 0), both)
    return np.where(both.sum(axis=1) >= 3, error, 1.0)


def _mean_error(difference: Floats, usable: Mask) -> Floats:
    error: Floats = (np.abs(difference) * usable).sum(axis=1) / np.maximum(usable.sum(axis=1), 1)
    return error


def slope(context: Context, width: Integers) -> Floats:
    """Fit a line to the observed values of the last `width` steps [N]: its slope [N]."""
    length = context.values.shape[1]
    back = np.arange(length, dtype=np.float32) - (length - 1)
    weight = (context.observed & (back > -width[:, None])).astype(np.float32)
    count = np.maximum(weight.sum(axis=1), 1)
    centre = (weight * back).sum(axis=1) / count
    apart = (back - centre[:, None]) * weight
    power = (apart**2).sum(axis=1)
    product = (apart * np.where(context.observed, context.values, 0)).sum(axis=1)
    slope: Floats = np.where(power > 0, product / np.maximum(power, 1e-6), 0)
    return slope


def expert_forecasts(
    context: Context, one: Season, two: Season, seasons: Integers, horizon: int
) -> Floats:
    """Forecast each future step in simple ways: [N, EXPERTS, H]."""
    last = context.filled[:, -1]
    ahead = np.arange(1, horizon + 1, dtype=np.float32)
    flat = np.ones(horizon, dtype=np.float32)
    length = context.values.shape[1] - context.first
    short = np.minimum(np.maximum(2 * seasons[:, 0], 12), length)
    long_slope = slope(context, length)
    damped = np.cumsum(0.95**ahead)
    tiles, profiles = (
        [s.tile[:, context.seen :] for s in (one, two)],
        [s.profile[:, context.seen :] for s in (one, two)],
    )
    recent = [_recent_miss(context, s, seasons[:, 0]) for s in (one, two)]
    drift = one.change / seasons[:, 0]
    centre = context.latest_mean(20)
    level = np.where(seasons[:, 0] > 1, one.level, centre)
    experts = [
        last[:, None] * flat,
        context.latest_mean(5)[:, None] * flat,
        centre[:, None] * flat,
        context.latest_mean(context.values.shape[1])[:, None] * flat,
        *tiles,
        *profiles,
        last[:, None] + long_slope[:, None] * ahead,
        last[:, None] + slope(context, short)[:, None] * damped,
        tiles[0] + one.change[:, None] * one.ahead,
        level[:, None]
        + one.change[:, None] * one.ahead
        + (tiles[0] - level[:, None]) * one.swing[:, None] ** np.minimum(one.ahead, 2),
        profiles[0] + drift[:, None] * (ahead + (seasons[:, :1] - 1) / 2),
        profiles[1] + recent[1][1][:, None],
        tiles[1] + recent[1][0][:, None],
        profiles[0] + long_slope[:, None] * (ahead + (seasons[:, :1] - 1) / 2),
    ]
    stacked: Floats = np.clip(np.stack(experts, axis=1), -_FARTHEST, _FARTHEST)
    return stacked.astype(np.float32)


def _recent_miss(context: Context, season: Season, width: Integers) -> tuple[Floats, Floats]:
    """Average what tile and profile have missed over the last `width` steps."""
    recent = context.recent
    weight = context.observed[:, recent] & season.whole[:, : context.seen]
    weight &= np.arange(context.seen) >= context.seen - np.maximum(width, 3)[:, None]
    actual = np.where(context.observed, context.values, 0)[:, recent]
    count = np.maximum(weight.sum(axis=1), 1)
    tile, profile = (
        ((actual - forecast[:, : context.seen]) * weight).sum(axis=1) / count
        for forecast in (season.tile, season.profile)
    )
    return tile, profile
