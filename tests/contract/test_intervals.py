"""Intervals that are asked to be calibrated, in the families that are not by themselves."""

from dataclasses import replace

import numpy as np
import pytest

from forecast.core.types import ForecastTask, Series

LENGTH, HORIZON = 64, 4
TASK = ForecastTask(HORIZON, (0.1, 0.5, 0.9), intervals="conformal")


def noise(count: int) -> np.ndarray:
    return 20 + np.random.default_rng(1).normal(size=(count, LENGTH + HORIZON))


@pytest.fixture
def uncalibrated(model):
    if model.is_calibrated:
        pytest.skip("calibrates its quantiles unasked")
    return model


def test_of_made_up_weights_they_hold_what_they_promise_when_asked(uncalibrated):
    """The weights know nothing; the errors that they make on the past of a series do.

    To a standard error of that many series.
    """
    whole = noise(16)
    batch = [Series(row[None, :LENGTH], item_id=str(at)) for at, row in enumerate(whole)]
    answers = uncalibrated.predict(batch, TASK)
    assert {answer.intervals for answer in answers} == {"conformal"}
    quantiles = np.stack([answer.quantiles[0] for answer in answers])  # [N, Q, H]
    actual = whole[:, LENGTH:]
    share = float(((quantiles[:, 0] <= actual) & (actual <= quantiles[:, 2])).mean())
    assert 0.65 <= share <= 0.95


def test_unasked_they_are_those_of_the_model(uncalibrated):
    [row] = noise(1)
    series = Series(row[None, :LENGTH])
    usual, native = (
        uncalibrated.predict([series], replace(TASK, intervals=asked))[0]
        for asked in (None, "native")
    )
    assert (usual.intervals, native.intervals) == ("native", "native")
    np.testing.assert_array_equal(usual.quantiles, native.quantiles)
