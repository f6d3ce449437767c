"""Measures of forecasts agree with those of utilsforecast, channel by channel."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from forecast.core.errors import BadData
from forecast.core.frequency import Frequency
from forecast.core.metrics import evaluate, hold_out, measure
from forecast.core.types import FloatArray, Forecast, ForecastTask, Series

LEVELS = (0.1, 0.5, 0.9)
SPREAD = np.array([[-2.0], [0.1], [1.5]])  # [Q, 1]
HORIZON, SEASON = 6, 7
NAMES = {
    "mae", "rmse", "mean_item_rmse", "mape", "smape", "mase", "rmsse",
    "pinball", "wql", "mean_item_wql", "coverage_80", "interval_width_80", "msis_80",
}  # fmt: skip


def last_value(batch: Sequence[Series], task: ForecastTask) -> list[Forecast]:
    return [forecast(series, task.horizon) for series in batch]


def forecast(series: Series, horizon: int) -> Forecast:
    mean = np.repeat(series.target[:, -1:], horizon, axis=1)
    return Forecast(mean, mean[:, None] + SPREAD, LEVELS)


def walk(item_id: str, length: int, channels: int = 1) -> Series:
    random = np.random.default_rng([length, *item_id.encode()])
    target = 40 + np.cumsum(random.normal(size=(channels, length)), axis=1)
    return Series(
        target=target,
        item_id=item_id,
        channels=tuple(f"c{number}" for number in range(channels)) if channels > 1 else (),
        start=np.datetime64("2026-01-01", "s"),
        freq=Frequency.parse("D"),
    )


TEST = [walk("a", 60), walk("b", 45)]


@pytest.fixture(scope="module")
def measured() -> dict[str, float]:
    return evaluate(last_value, TEST, ForecastTask(HORIZON, LEVELS))


@pytest.fixture(scope="module")
def losses():
    return pytest.importorskip("utilsforecast.losses")


@pytest.fixture(scope="module")
def frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same forecasts, and the same past, as utilsforecast reads them."""
    answers, pasts = [], []
    for series in TEST:
        past, actual = hold_out(series, HORIZON)
        answer = forecast(past, HORIZON)
        times = pd.date_range("2026-01-01", periods=series.length)
        columns = {"unique_id": series.item_id, "ds": times[-HORIZON:], "y": actual[0]}
        columns["f"] = answer.mean[0]
        rows = answer.quantiles[0]
        columns |= {f"f-q{level}": row for level, row in zip(LEVELS, rows, strict=True)}
        columns |= {"f-lo-80": rows[0], "f-hi-80": rows[2]}
        answers.append(pd.DataFrame(columns))
        past_columns = {"unique_id": series.item_id, "ds": times[:-HORIZON], "y": past.target[0]}
        pasts.append(pd.DataFrame(past_columns))
    return pd.concat(answers), pd.concat(pasts)


def test_every_measure_is_there(measured):
    assert set(measured) == NAMES


@pytest.mark.parametrize(
    ("name", "function", "factor"),
    [("mae", "mae", 1), ("mean_item_rmse", "rmse", 1), ("mape", "mape", 100)],
)
def test_point_errors_agree(losses, frames, measured, name, function, factor):
    theirs = getattr(losses, function)(frames[0], models=["f"])["f"].mean()
    assert measured[name] == pytest.approx(factor * theirs)


def test_smape_agrees_up_to_its_scale(losses, frames, measured):
    assert measured["smape"] == pytest.approx(200 * losses.smape(frames[0], ["f"])["f"].mean())


@pytest.mark.parametrize("name", ["mase", "rmsse"])
def test_scaled_errors_agree_by_the_season_of_the_frequency(losses, frames, measured, name):
    theirs = getattr(losses, name)(frames[0], ["f"], seasonality=SEASON, train_df=frames[1])
    assert measured[name] == pytest.approx(theirs["f"].mean())


def test_the_pinball_loss_is_the_mean_over_the_levels(losses, frames, measured):
    theirs = [
        losses.quantile_loss(frames[0], {"f": f"f-q{level}"}, level)["f"].mean() for level in LEVELS
    ]
    assert measured["pinball"] == pytest.approx(np.mean(theirs))


def test_the_weighted_quantile_loss_agrees(losses, frames, measured):
    models = {"f": [f"f-q{level}" for level in LEVELS]}
    theirs = losses.scaled_crps(frames[0], models, quantiles=np.array(LEVELS))["f"].mean()
    assert measured["mean_item_wql"] == pytest.approx(theirs)
    frame = frames[0]
    sums = [
        2 * (np.maximum(level * error, (level - 1) * error)).sum() / frame["y"].abs().sum()
        for level in LEVELS
        for error in [frame["y"] - frame[f"f-q{level}"]]
    ]
    assert measured["wql"] == pytest.approx(np.mean(sums))  # one ratio, as GluonTS has it


def test_a_small_bad_series_does_not_hide_a_large_good_one():
    """Pooled errors are those of all values; the mean over items weighs each series alike."""
    large, tiny = Series(np.full((1, 20), 1000.0)), Series(np.full((1, 20), 1.0))
    past = [hold_out(large, 4)[0], hold_out(tiny, 4)[0]]
    answers = [
        Forecast(np.full((1, 4), mean), np.full((1, 1, 4), mean), (0.5,)) for mean in (1010.0, 2.0)
    ]
    found = measure([(past[0], np.full((1, 4), 1000.0)), (past[1], np.full((1, 4), 1.0))], answers)
    assert found["wql"] == pytest.approx(11 / 1001)
    assert found["mean_item_wql"] == pytest.approx((0.01 + 1) / 2)
    assert found["rmse"] == pytest.approx(np.sqrt((100 + 1) / 2))
    assert found["mean_item_rmse"] == pytest.approx(5.5)
    assert "mase" not in found  # neither ever changed


def test_coverage_agrees(losses, frames, measured):
    theirs = losses.coverage(frames[0], ["f"], 80)["f"].mean()
    assert 0 < measured["coverage_80"] == pytest.approx(theirs)


def test_interval_measures_name_their_level(measured):
    assert measured["interval_width_80"] == pytest.approx(3.5)
    scores = []
    for series in TEST:
        past, actual = hold_out(series, HORIZON)
        low, high = past.target[0, -1] - 2, past.target[0, -1] + 1.5
        missed = np.maximum(low - actual[0], 0) + np.maximum(actual[0] - high, 0)
        changes = past.target[0, SEASON:] - past.target[0, :-SEASON]
        scores.append((3.5 + 2 / 0.2 * missed.mean()) / np.abs(changes).mean())
    assert measured["msis_80"] == pytest.approx(np.mean(scores))


def test_channels_count_as_series_do():
    both = walk("both", 50, channels=2)
    alone = [
        Series(target=both.target[row : row + 1], start=both.start, freq=both.freq)
        for row in (0, 1)
    ]
    task = ForecastTask(HORIZON, LEVELS)
    together, apart = evaluate(last_value, [both], task), evaluate(last_value, alone, task)
    assert together == pytest.approx(apart)


def test_holding_out_cuts_what_is_not_known_ahead():
    series = Series(
        target=np.arange(10.0)[None],
        start=np.datetime64("2026-01-01", "s"),
        freq=Frequency.parse("D"),
        past_covariates={"price": np.arange(10.0), "holiday": np.arange(10.0) * 10},
        future_covariates={"holiday": np.array([999.0])},
    )
    cut, actual = hold_out(series, 3)
    assert cut.target.tolist() == [[0, 1, 2, 3, 4, 5, 6]]
    assert actual.tolist() == [[7, 8, 9]]
    assert cut.past_covariates["price"].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert {name: one.tolist() for name, one in cut.future_covariates.items()} == {
        "holiday": [70, 80, 90]
    }


@pytest.mark.parametrize("length", [1, HORIZON])
def test_a_series_without_a_past_is_refused_by_name(length):
    with pytest.raises(BadData, match=rf"'short' has {length} steps; .* horizon of 6 needs more"):
        evaluate(last_value, [walk("short", length)], ForecastTask(HORIZON))


def test_what_has_no_meaning_for_one_series_is_the_mean_of_the_others():
    flat = Series(np.full((1, 30), 5.0))  # no scale
    empty = Series(np.concatenate([np.arange(20.0), np.full(HORIZON, np.nan)])[None])  # no actual
    task = ForecastTask(HORIZON, LEVELS)
    alone = evaluate(last_value, TEST, task)
    beside = evaluate(last_value, [*TEST, flat, empty], task)
    assert beside["mase"] == pytest.approx(alone["mase"])
    assert beside["mae"] == pytest.approx(alone["mae"] * 2 / 3)
    assert "mase" not in evaluate(last_value, [flat], task)
    assert set(evaluate(last_value, [empty], task)) == {"interval_width_80"}


def points(mean: FloatArray, levels: tuple[float, ...], quantiles: FloatArray) -> dict[str, float]:
    held_out = [(Series(np.arange(9.0)[None]), np.array([[9.0, 10.0]]))]
    return measure(held_out, [Forecast(mean, quantiles, levels)])


def test_a_point_forecast_has_no_measure_of_quantiles():
    assert set(points(np.ones((1, 2)), (), np.empty((1, 0, 2)))) == {
        "mae", "rmse", "mean_item_rmse", "mape", "smape", "mase", "rmsse",
    }  # fmt: skip


@pytest.mark.parametrize("levels", [(0.5,), (0.1, 0.5), (0.2, 0.9)])
def test_levels_that_bound_no_symmetric_interval_have_no_measure_of_one(levels):
    quantiles = np.zeros((1, len(levels), 2))
    names = set(points(np.ones((1, 2)), levels, quantiles))
    assert "pinball" in names
    assert not [name for name in names if name.startswith(("coverage", "interval", "msis"))]
