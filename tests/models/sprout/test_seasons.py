"""Seasons found in the data."""

import numpy as np

from forecast.models.sprout.scaling import standardise
from forecast.models.sprout.seasons import autocorrelation, found_seasons


def test_seasons_are_found_in_the_day_and_the_week_and_not_in_a_walk():
    steps, rng = np.arange(700), np.random.default_rng(0)
    day, week = np.sin(2 * np.pi * steps / 24), 1.0 * (steps // 24 % 7 >= 5)
    noise = 0.2 * rng.standard_normal((3, 700))
    series = np.stack([day, 2 * day + week, np.cumsum(rng.standard_normal(700))]) + noise
    series[:, 100:130] = np.nan
    found = found_seasons(standardise(series).values)
    assert found[0, 0] == 24
    assert tuple(found[1]) == (24, 168)
    assert found[2, 0] not in (24, 168)


def test_a_season_is_found_among_outliers_and_no_longer_one_in_noise():
    rng, steps = np.random.default_rng(0), np.arange(700)
    day = np.sin(2 * np.pi * steps / 24) + 0.3 * rng.standard_normal((30, 700))
    hit = rng.random(day.shape) < 0.01
    spiky = day + hit * 10 * np.abs(rng.standard_t(2, day.shape))
    found = found_seasons(standardise(np.concatenate([day, spiky])).values)
    assert (found[:30, 0] == 24).all()
    assert (found[30:, 0] == 24).mean() > 0.9
    assert (found[:30, 1] > 168).mean() < 0.2


def test_correlations_are_those_of_the_pairs_that_are_observed():
    rng = np.random.default_rng(0)
    observed = np.ones((4, 90), dtype=bool)
    observed[1, :40] = False
    observed[2] = rng.random(90) < 0.6
    rest = np.where(observed, rng.standard_normal((4, 90)), 0)
    found = autocorrelation(rest, observed)
    for row in range(4):
        power = (rest[row] ** 2).sum() / observed[row].sum()
        for lag in range(80):
            pairs = (observed[row, lag:] & observed[row, : 90 - lag]).sum()
            total = (rest[row, lag:] * rest[row, : 90 - lag]).sum()
            shrunk = pairs / (pairs + 3 + 0.4 * lag)
            expected = total / max(pairs, 0.5) / power * shrunk
            np.testing.assert_allclose(found[row, lag], expected, atol=1e-9)
