"""What a forecast must be, whoever makes it: each check takes a model and raises if it is not.

The series are simulated, so what comes after them is known.
"""

from collections.abc import Callable

import numpy as np

from forecast.core.frequency import Frequency
from forecast.core.types import FloatArray, ForecastTask, Series
from forecast.models.base.model import BaseTimeSeriesModel
from tests.examples import examples

LENGTH, HORIZON = 60, 7
TASK = ForecastTask(horizon=HORIZON, quantile_levels=(0.1, 0.5, 0.9))
WEEK = np.array([10.0, 12, 15, 13, 9, 6, 5])

Check = Callable[[BaseTimeSeriesModel], None]


def daily(target: FloatArray, item_id: str = "a") -> Series:
    start, freq = np.datetime64("2024-01-01", "s"), Frequency.parse("D")
    return Series(target=np.asarray(target)[None], item_id=item_id, start=start, freq=freq)


def forecast_of(model: BaseTimeSeriesModel, whole: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Forecast the last steps of a series from those before, and give them beside it."""
    answer = model.predict([daily(whole[:-HORIZON])], TASK)[0]
    return answer.mean[0], whole[-HORIZON:]


def goes_on_along_a_line(model: BaseTimeSeriesModel) -> None:
    """A line without noise is continued, to a tenth of its slope a step."""
    mean, truth = forecast_of(model, 20 + 2.0 * np.arange(LENGTH + HORIZON))
    np.testing.assert_allclose(mean, truth, atol=0.2 * HORIZON)


def repeats_a_season(model: BaseTimeSeriesModel) -> None:
    """A season without noise comes again, to a tenth of its range."""
    mean, truth = forecast_of(model, np.resize(WEEK, LENGTH + HORIZON))
    np.testing.assert_allclose(mean, truth, atol=0.1 * np.ptp(WEEK))


def noisy() -> FloatArray:
    """A season with noise and a trend, on both sides of zero."""
    noise = np.random.default_rng(5).normal(size=LENGTH)
    return np.resize(WEEK, LENGTH) - 11 + 0.05 * np.arange(LENGTH) + noise


def assert_moves_with(model: BaseTimeSeriesModel, scale: float, shift: float) -> None:
    """Forecast a + b·y as a + b times the forecast of y, to a thousandth of the spread of y."""
    target = noisy()
    plain = model.predict([daily(target)], TASK)[0]
    moved = model.predict([daily(scale * target + shift)], TASK)[0]
    atol = 1e-3 * float(np.std(target))
    for one, other in ((plain.mean, moved.mean), (plain.quantiles, moved.quantiles)):
        np.testing.assert_allclose((other - shift) / scale, one, rtol=0, atol=atol)


def scales_with_the_series(model: BaseTimeSeriesModel) -> None:
    for scale in (1000.0, 1e-6):
        assert_moves_with(model, scale, 0.0)


def shifts_with_the_series(model: BaseTimeSeriesModel) -> None:
    assert_moves_with(model, 1.0, -100.0)


def keeps_its_precision_far_from_zero(model: BaseTimeSeriesModel) -> None:
    assert_moves_with(model, 1.0, -1e7)


def walks(count: int) -> FloatArray:
    steps = np.random.default_rng(1).normal(size=(count, LENGTH + HORIZON))
    return np.cumsum(steps, axis=1)


def noisy_weeks(count: int) -> FloatArray:
    noise = np.random.default_rng(2).normal(size=(count, LENGTH + HORIZON))
    return 20 + np.resize(WEEK, LENGTH + HORIZON) + noise


def assert_covers(model: BaseTimeSeriesModel, whole: FloatArray) -> None:
    """The interval between the levels 0.1 and 0.9 holds 70 to 90 % of what comes.

    As measured on N series of which the steps depend on each other, to a standard error.
    """
    batch = [daily(one, str(number)) for number, one in enumerate(whole[:, :-HORIZON])]
    answers = model.predict(batch, TASK)
    quantiles = np.stack([answer.quantiles[0] for answer in answers])  # [N, Q, H]
    truth = whole[:, -HORIZON:]
    share = float(((quantiles[:, 0] <= truth) & (truth <= quantiles[:, 2])).mean())
    error = 0.2 / np.sqrt(len(whole))
    assert 0.7 - error <= share <= 0.9 + error, f"80 % intervals hold {share:.0%}"


def covers_random_walks(model: BaseTimeSeriesModel) -> None:
    assert_covers(model, walks(examples(500)))


def covers_noisy_seasons(model: BaseTimeSeriesModel) -> None:
    assert_covers(model, noisy_weeks(examples(500)))


OF_SHIFTING = (shifts_with_the_series, keeps_its_precision_far_from_zero)
OF_SEASONAL = (repeats_a_season, covers_noisy_seasons)
OF_COVERAGE = (covers_random_walks, covers_noisy_seasons)
OF_READY = (goes_on_along_a_line, covers_random_walks, *OF_SEASONAL)
ALL: tuple[Check, ...] = (scales_with_the_series, *OF_SHIFTING, *OF_READY)
