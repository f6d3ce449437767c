"""Covariates known ahead, for a model that takes none."""

import csv
from pathlib import Path

import numpy as np
import pytest

from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.models.sprout.model import SproutModel
from tests.models.sprout.test_model import noisy_days

DATA = Path(__file__).parents[4] / "shared" / "data"
TASK = ForecastTask(24, (0.1, 0.5, 0.9))


@pytest.fixture(scope="module")
def model():
    return SproutModel.tiny()


def series_of(target, **covariates):
    """Make an hourly series; covariates hold 24 steps more than the target."""
    target = np.atleast_2d(target)
    steps = target.shape[1]
    return Series(
        target=target,
        channels=tuple(f"c{number}" for number in range(len(target))),
        start=np.datetime64("2024-01-01", "s"),
        freq=Frequency.parse("h"),
        past_covariates={name: values[:steps] for name, values in covariates.items()},
        future_covariates={name: values[steps:] for name, values in covariates.items()},
    )


def with_load(seed=0, steps=300):
    """Simulate a day that a load lifts: the target of `steps` + 24 steps, and the load."""
    load = np.random.default_rng(seed).normal(size=steps + 24).cumsum() % 5
    return noisy_days(steps + 24, seed) + 4 * load, load


def test_prices_are_forecast_better_with_what_is_known_ahead(model):
    file = DATA / "electricity-short-with-ex-vars.csv"
    if not file.exists():
        pytest.skip("needs the data beside the checkout")
    with file.open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["unique_id"] in ("BE", "NP")]
    errors = []
    for market in ("BE", "NP"):
        own = [row for row in rows if row["unique_id"] == market]
        price, *known = (
            np.array([float(row[name]) for row in own])
            for name in ("y", "Exogenous1", "Exogenous2")
        )
        for end in range(len(price) - 14 * 24, len(price), 48):
            past = slice(end - 768, end)
            told = {f"x{n}": each[end - 768 : end + 24] for n, each in enumerate(known)}
            answers = [
                model.predict([series_of(price[past], **covariates)], TASK)[0]
                for covariates in ({}, told)
            ]
            errors.append([np.abs(a.mean[0] - price[end : end + 24]).mean() for a in answers])
    without, beside = np.mean(errors, axis=0)
    assert beside < 0.9 * without


def test_a_covariate_that_explains_a_series_is_followed_with_narrower_intervals(model):
    target, load = with_load()
    alone, told = (
        model.predict([series_of(target[:300], **known)], TASK)[0] for known in ({}, {"load": load})
    )
    assert np.abs(told.mean[0] - target[300:]).mean() < 1.5
    width = [answer.quantiles[0, -1] - answer.quantiles[0, 0] for answer in (alone, told)]
    assert width[1].mean() < 0.7 * width[0].mean()
    assert not told.warnings


def test_a_covariate_without_effect_changes_little_and_is_named(model):
    rng = np.random.default_rng(3)
    target, noise = noisy_days(), rng.normal(size=524)
    plain, told = (
        model.predict([series_of(target, **known)], TASK)[0] for known in ({}, {"luck": noise})
    )
    assert np.abs(told.mean - plain.mean).max() < 0.5  # the noise of the series is 1
    constant = model.predict([series_of(target, flat=np.ones(524))], TASK)[0]
    np.testing.assert_array_equal(constant.quantiles, plain.quantiles)
    assert constant.warnings == ("constant covariates were left out: flat",)


def test_with_covariates_too_a_series_gets_the_same_bits_alone_and_in_company(model):
    batch = []
    for seed, steps in enumerate((5, 40, 300, 301, 700)):
        target, load = with_load(seed, steps)
        batch.append(series_of(target[:steps], load=load))
    for series, answer in zip(batch, model.predict(batch, TASK), strict=True):
        alone = model.predict([series], TASK)[0]
        np.testing.assert_array_equal(answer.quantiles, alone.quantiles)


def test_each_channel_has_effects_of_its_own_and_gaps_do_not_matter(model):
    target, load = with_load()
    values = np.stack([target[:300], noisy_days(300, 7) - 3 * load[:300]])
    values[:, 100:110], values[1, -5:] = np.nan, np.nan
    answer = model.predict([series_of(values, load=load)], TASK)[0]
    day = 20 + 5 * np.sin(2 * np.pi * np.arange(300, 324) / 24)
    for channel, truth in enumerate((day + 4 * load[300:], day - 3 * load[300:])):
        assert np.abs(answer.mean[channel] - truth).mean() < 1.5


@pytest.mark.parametrize("factor", [1e140, 1e-300])
def test_huge_and_tiny_values_keep_their_covariates(model, factor):
    target, load = with_load()
    answer = model.predict([series_of(factor * target[:300], load=load)], TASK)[0]
    plain = model.predict([series_of(target[:300], load=load)], TASK)[0]
    np.testing.assert_allclose(answer.mean / factor, plain.mean, rtol=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
def test_a_short_series_is_forecast_and_says_that_nothing_was_learned(model, steps):
    target, load = with_load(steps=steps)
    answer = model.predict([series_of(target[:steps], load=load)], TASK)[0]
    assert np.isfinite(answer.quantiles).all()
    if steps < 4:
        assert any("load" in warning for warning in answer.warnings)
