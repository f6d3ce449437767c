from collections.abc import Sequence

import numpy as np
import pytest

from forecast.core.types import FloatArray, ForecastTask, Series
from forecast.models.base.past_errors import (
    UNKNOWN,
    offsets_of,
    origins_of,
    past_errors_of,
    with_past_errors,
)

TASK = ForecastTask(horizon=6, quantile_levels=(0.1, 0.5, 0.9))


def last_value(batch: Sequence[Series], horizon: int) -> list[FloatArray]:
    """The naive forecast: the best there is for a random walk."""
    found = []
    for series in batch:
        rows = [row[~np.isnan(row)][-1] for row in series.target]
        found.append(np.repeat(np.array(rows)[:, None], horizon, axis=1))
    return found


def walk(length: int, seed: int = 0, channels: int = 1) -> Series:
    steps = np.random.default_rng(seed).normal(size=(channels, length))
    return Series(target=np.cumsum(steps, axis=1), item_id=str(seed))


def forecast(series: Series, task: ForecastTask = TASK, **facts):
    return with_past_errors([series], task, last_value, **facts)[0]


def test_intervals_of_a_random_walk_cover_about_what_they_promise():
    inside = []
    batch = [walk(126, seed) for seed in range(300)]
    known = [Series(target=series.target[:, :120]) for series in batch]
    for series, answer in zip(batch, with_past_errors(known, TASK, last_value), strict=True):
        came = series.target[0, 120:]
        inside.append((answer.quantiles[0, 0] <= came) & (came <= answer.quantiles[0, 2]))
    assert np.mean(inside) == pytest.approx(0.8, abs=0.06)


def test_the_median_is_the_point_forecast_and_width_grows_with_the_step():
    answer = forecast(walk(100))
    np.testing.assert_array_equal(answer.quantiles[:, 1], answer.mean)
    assert (np.diff(answer.quantiles[0, 2] - answer.mean[0]) > 0).all()
    assert (np.diff(answer.quantiles, axis=1) > 0).all()


@pytest.mark.parametrize(("length", "is_warned"), [(1, True), (2, True), (5, True), (40, False)])
def test_a_few_equal_values_are_said_to_tell_no_spread(length, is_warned):
    answer = forecast(Series(target=np.full((1, length), 4.0)))
    assert (answer.quantiles == 4).all()
    assert (UNKNOWN in answer.warnings) == is_warned


@pytest.mark.parametrize("length", range(1, 20))
def test_the_shortest_series_have_finite_quantiles(length):
    answer = forecast(walk(length))
    assert np.isfinite(answer.quantiles).all()
    width = answer.quantiles[0, 2] - answer.quantiles[0, 0]
    assert (width > 0).all() if length > 1 else (width == 0).all()
    assert bool(answer.warnings) == (length == 1)


def test_a_constant_has_no_width():
    answer = forecast(Series(target=np.full((1, 50), 3.0)))
    np.testing.assert_array_equal(answer.quantiles, 3.0)


def test_a_series_too_short_for_the_model_to_be_tried_on_is_judged_by_its_own_steps():
    series = Series(target=np.array([[0.0, 2.0, 0.0, 2.0, 0.0, 2.0, 0.0, 2.0, 0.0, 2.0]]))
    answer = forecast(series, least=10)
    width = answer.quantiles[0, 2] - answer.mean[0]
    np.testing.assert_allclose(width / width[0], np.sqrt(np.arange(1, 7)))
    # 1.28 deviations of changes that are 2 in size; Student's t adds a little
    assert 2.56 <= width[0] <= 2.9


@pytest.mark.parametrize("length", [3, 4, 5, 6, 7, 8, 9, 12])
def test_the_shortest_walks_are_covered_as_promised(length):
    whole = [walk(length + 6, seed) for seed in range(400)]
    known = [Series(target=series.target[:, :length]) for series in whole]
    answers = with_past_errors(known, TASK, last_value)
    came = np.array([series.target[0, length:] for series in whole])
    ends = np.array([answer.quantiles[0, [0, 2]] for answer in answers])
    assert np.mean((ends[:, 0] <= came) & (came <= ends[:, 1])) == pytest.approx(0.8, abs=0.08)


def test_missing_values_make_no_interval_narrower():
    def width(missing: float) -> float:
        draw = np.random.default_rng(1)
        widths = []
        for seed in range(100):
            series = walk(121, seed)
            series.target[0, 1:-1][draw.random(119) < missing] = np.nan
            quantiles = forecast(series).quantiles[0]
            widths.append(quantiles[2] - quantiles[0])
        return float(np.mean(widths))

    assert width(0.6) > 0.95 * width(0.0)


@pytest.mark.parametrize("length", [12, 24, 36, 60])
@pytest.mark.parametrize("kind", ["walk", "noise"])
def test_missing_values_change_no_rule_by_which_errors_are_counted(length, kind):
    def width(missing: float) -> float:
        draw = np.random.default_rng(1)
        widths = []
        for seed in range(100):
            steps = np.random.default_rng(seed).normal(size=length)
            target = steps.cumsum() if kind == "walk" else steps
            target[1:-1][draw.random(length - 2) < missing] = np.nan
            origins = origins_of(length, 9, 5)
            points = [np.full(9, target[:at][~np.isnan(target[:at])][-1]) for at in origins]
            past = past_errors_of(target, origins, points, adjusted=target)
            lower, upper = offsets_of(past, (0.1, 0.9), np.arange(1, 9))
            widths.append((upper - lower).mean())
        return float(np.mean(widths))

    assert width(0.3) > 0.95 * width(0.0)


@pytest.mark.parametrize("length", [20, 60, 200])
def test_a_tiny_unit_changes_nothing_but_the_unit(length):
    plain = walk(length)
    tiny = Series(target=plain.target * 2.0**-1000)
    np.testing.assert_array_equal(forecast(tiny).quantiles, forecast(plain).quantiles * 2.0**-1000)


def test_the_first_change_of_a_constant_gives_its_interval_a_width():
    target = np.array([5.0] * 29 + [6.0])
    past = past_errors_of(target, [14, 18, 22, 26], [np.full(4, 5.0)] * 4, adjusted=target)
    offsets = offsets_of(past, (0.1, 0.4, 0.5, 0.6, 0.9), np.arange(1, 4))
    assert (np.diff(offsets, axis=0) > 0).all()
    assert (offsets[2] == 0).all()


def test_all_pasts_are_forecast_in_one_call():
    calls = []

    def counted(batch: Sequence[Series], horizon: int) -> list[FloatArray]:
        calls.append(len(batch))
        return last_value(batch, horizon)

    with_past_errors([walk(50), walk(60)], TASK, counted, origins=4)
    assert calls == [10]


def test_a_point_forecast_alone_costs_no_look_at_the_past():
    def only(batch: Sequence[Series], horizon: int) -> list[FloatArray]:
        assert len(batch) == 1
        return last_value(batch, horizon)

    answer = with_past_errors([walk(50)], ForecastTask(horizon=3, quantile_levels=()), only)[0]
    assert answer.quantiles.shape == (1, 0, 3)


def test_answers_are_the_same_in_any_company():
    batch = [walk(length, length) for length in (3, 40, 200)]
    together = with_past_errors(batch[::-1], TASK, last_value)[::-1]
    for series, one in zip(batch, together, strict=True):
        np.testing.assert_array_equal(one.quantiles, forecast(series).quantiles)


def test_with_a_fixed_block_a_longer_horizon_changes_no_step():
    long = ForecastTask(horizon=40, quantile_levels=TASK.quantile_levels)
    short = forecast(walk(90), block=16)
    np.testing.assert_array_equal(
        short.quantiles, forecast(walk(90), long, block=16).quantiles[..., :6]
    )


def test_missing_values_are_no_errors():
    series = walk(80)
    series.target[0, ::3] = np.nan
    series.target[0, -10:] = np.nan
    assert np.isfinite(forecast(series).quantiles).all()
    series.target[0, 2:] = np.nan
    assert np.isfinite(forecast(series).quantiles).all()


def test_each_channel_has_its_own_width():
    series = walk(100, channels=2)
    series.target[1] *= 10
    answer = forecast(series)
    width = answer.quantiles[:, 2] - answer.quantiles[:, 0]
    assert (width[1] > 3 * width[0]).all()


def test_a_past_is_forecast_with_the_covariates_that_were_known_then():
    price = np.arange(20.0)
    series = Series(
        target=price[None].copy(),
        past_covariates={"price": price},
        future_covariates={"price": np.arange(20.0, 26.0)},
    )

    def told(batch: Sequence[Series], horizon: int) -> list[FloatArray]:
        for one in batch:
            assert len(one.past_covariates["price"]) == one.length
        return [one.future_covariates["price"][None] for one in batch]

    answer = with_past_errors([series], TASK, told, block=16)[0]
    np.testing.assert_array_equal(answer.quantiles[0, 0], np.arange(20.0, 26.0))


@pytest.mark.parametrize(("length", "reach"), [(1, 5), (2, 5), (3, 1), (10, 8), (100, 7), (9, 99)])
def test_origins_leave_half_the_series_to_forecast_from(length, reach):
    found = origins_of(length, reach, 6)
    assert len(found) <= 6
    assert list(found) == sorted(set(found))
    assert all(length / 2 <= origin < length for origin in found)
    assert bool(found) == (length > 1)


def test_intervals_are_wider_at_the_phases_of_the_season_that_change_more():
    sizes = np.where(np.arange(24) < 12, 1.0, 4.0)
    target = np.resize(sizes, 720) * np.random.default_rng(0).normal(size=720)
    origins = [720 - 24 * back for back in range(1, 9)]
    past = past_errors_of(target, origins, [np.zeros(24)] * 8, season=24)
    upper = offsets_of(past, (0.1, 0.9), np.arange(1, 49))[1]
    assert np.mean(upper[15:22]) > 1.5 * np.mean(upper[3:10])
    assert np.mean(upper[39:46]) > 1.5 * np.mean(upper[27:34])


def test_origins_that_do_not_overlap_are_as_many_independent_errors():
    """However much the errors of neighbouring steps are alike."""
    target = np.repeat(np.random.default_rng(0).normal(size=20), 48)
    origins = [960 - 48 * back for back in range(1, 9)]
    past = past_errors_of(target, origins, [np.zeros(48)] * 8)
    assert past.independent >= 8
    overlapping = [960 - 48 - back for back in range(8)]
    assert past_errors_of(target, overlapping, [np.zeros(48)] * 8).independent < 8
