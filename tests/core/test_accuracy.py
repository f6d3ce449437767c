"""Accuracy measures agree with their formulas and with utilsforecast."""

import numpy as np
import pytest

from forecast.core import accuracy

RNG = np.random.default_rng(7)
HISTORY = 50 + np.cumsum(RNG.normal(size=60))
ACTUAL = HISTORY[-1] + np.cumsum(RNG.normal(size=12))
POINT = ACTUAL + RNG.normal(size=12)
LEVELS = (0.1, 0.5, 0.9)
QUANTILES = POINT + np.array([[-1.0], [0.1], [1.2]])


@pytest.fixture(scope="module")
def losses():
    return pytest.importorskip("utilsforecast.losses")


@pytest.fixture(scope="module")
def frame(losses):
    import pandas as pd

    days = pd.date_range("2026-01-01", periods=72)
    columns = {"unique_id": "a", "ds": days[60:], "y": ACTUAL, "f": POINT}
    columns |= {f"f-q{level}": row for level, row in zip(LEVELS, QUANTILES, strict=True)}
    columns |= {"f-lo-80": QUANTILES[0], "f-hi-80": QUANTILES[2]}
    train = pd.DataFrame({"unique_id": "a", "ds": days[:60], "y": HISTORY})
    return pd.DataFrame(columns), train


@pytest.mark.parametrize(("name", "factor"), [("mae", 1), ("rmse", 1), ("mape", 100)])
def test_point_errors_agree_with_utilsforecast(losses, frame, name, factor):
    theirs = getattr(losses, name)(frame[0], models=["f"])["f"].item()
    assert getattr(accuracy, name)(ACTUAL, POINT) == pytest.approx(factor * theirs)


def test_smape_is_twice_as_large_and_in_percent(losses, frame):
    theirs = losses.smape(frame[0], models=["f"])["f"].item()
    assert accuracy.smape(ACTUAL, POINT) == pytest.approx(200 * theirs)


@pytest.mark.parametrize("name", ["mase", "rmsse"])
@pytest.mark.parametrize("season", [1, 12])
def test_scaled_errors_agree_with_utilsforecast(losses, frame, name, season):
    theirs = getattr(losses, name)(frame[0], models=["f"], seasonality=season, train_df=frame[1])
    ours = getattr(accuracy, name)(ACTUAL, POINT, HISTORY, season)
    assert ours == pytest.approx(theirs["f"].item())


@pytest.mark.parametrize("row", range(3))
def test_pinball_loss_agrees_with_utilsforecast(losses, frame, row):
    level = LEVELS[row]
    theirs = losses.quantile_loss(frame[0], models={"f": f"f-q{level}"}, q=level)["f"].item()
    assert accuracy.pinball(ACTUAL, QUANTILES[row], level) == pytest.approx(theirs)


def test_weighted_quantile_loss_agrees_with_utilsforecast(losses, frame):
    names = {"f": [f"f-q{level}" for level in LEVELS]}
    theirs = losses.scaled_crps(frame[0], models=names, quantiles=np.array(LEVELS))["f"].item()
    assert accuracy.wql(ACTUAL, QUANTILES, LEVELS) == pytest.approx(theirs)


def test_coverage_agrees_with_utilsforecast(losses, frame):
    theirs = losses.coverage(frame[0], models=["f"], level=80)["f"].item()
    ours = accuracy.coverage(ACTUAL, QUANTILES[0], QUANTILES[2])
    assert 0 < ours < 1
    assert ours == pytest.approx(theirs)


def test_scaled_interval_score_by_hand():
    history = np.array([1.0, 3.0, 2.0, 4.0])  # seasonal changes of 2 steps: 1, 1
    interval = (np.array([0.0, 0.0]), np.array([2.0, 2.0]))
    score = accuracy.msis(np.array([1.0, 3.0]), interval, history, 2, level=0.8)
    assert score == pytest.approx((2 + (2 + 10 * 1)) / 2)


def test_a_miss_below_costs_as_much_as_a_miss_above():
    history = np.arange(5.0)
    interval = (np.array([0.0]), np.array([2.0]))
    below = accuracy.msis(np.array([-1.0]), interval, history)
    assert below == accuracy.msis(np.array([3.0]), interval, history)
    assert below == pytest.approx(2 + 40)


def test_width_is_the_mean_distance_of_the_ends():
    assert accuracy.interval_width(np.array([0.0, 1.0]), np.array([1.0, 4.0])) == 2.0


def test_owa_of_the_reference_itself_is_one():
    assert accuracy.owa(12.0, 1.5, (12.0, 1.5)) == 1.0
    assert accuracy.owa(6.0, 1.5, (12.0, 1.5)) == 0.75


def test_actuals_that_are_missing_are_skipped():
    actual = np.array([1.0, np.nan, 3.0])
    forecast = np.array([2.0, 9.0, 3.0])
    assert accuracy.mae(actual, forecast) == 0.5
    assert accuracy.coverage(actual, forecast - 0.5, forecast + 0.5) == 0.5
    assert accuracy.wql(actual, forecast[None], [0.5]) == pytest.approx(0.25)


def test_zeros_have_no_percentage_but_a_symmetric_one():
    zero, one = np.zeros(2), np.array([0.0, 1.0])
    assert np.isnan(accuracy.mape(zero, one))
    assert accuracy.smape(zero, one) == 100.0
    assert accuracy.smape(zero, zero) == 0.0


@pytest.mark.parametrize("history", [np.ones(9), np.array([1.0]), np.array([])])
def test_without_a_scale_there_is_no_scaled_error(history):
    point = np.array([1.0])
    assert np.isnan(accuracy.mase(point, point, history, 2))
    assert np.isnan(accuracy.rmsse(point, point, history, 2))
    assert np.isnan(accuracy.msis(point, (point, point), history, 2))
    assert np.isnan(accuracy.wql(np.zeros(1), point[None], [0.5]))
