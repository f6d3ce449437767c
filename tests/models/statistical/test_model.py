"""The statistical models forecast as their library does, and never break."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from forecast.core.errors import BadData, InvalidRequest
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.models.statistical import methods
from forecast.models.statistical.choice import FEWEST
from forecast.models.statistical.history import History
from forecast.models.statistical.methods import hindsight_of
from forecast.models.statistical.model import StatisticalModel
from forecast.models.statistical.spec import StatisticalOptions

METHODS = sorted(FEWEST)
LEVELS = (0.0225, 0.1, 0.5, 0.8, 0.9)


def task_of(horizon=6, levels=LEVELS, **options) -> ForecastTask:
    return ForecastTask(horizon, levels, options=StatisticalOptions(**options))


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"auto"}))
def test_each_method_answers_as_the_library_called_directly(name, model, airline, series_of):
    from statsforecast import models as library

    center, scale = (
        (0.0, airline.mean())
        if name in {"auto_ets", "auto_theta"}
        else (airline.mean(), airline.std())
    )
    theirs = {
        "auto_ets": library.AutoETS(season_length=12),
        "auto_arima": library.AutoARIMA(season_length=12),
        "auto_theta": library.AutoTheta(season_length=12),
        "auto_ces": library.AutoCES(season_length=12),
        "mstl": library.MSTL(season_length=[12]),
        "seasonal_naive": library.SeasonalNaive(season_length=12),
        "naive": library.Naive(),
    }[name].forecast(y=(airline - center) / scale, h=6, level=[60, 80, 95.5])
    task = replace(task_of(model=name), intervals="native")
    [ours] = model.predict([series_of(airline)], task)
    assert ours.warnings == ()
    assert ours.intervals == "native"
    assert ours.methods == {name: 1.0}
    close = 5e-3 if name == "mstl" else 1e-6  # two rounds, smoothers joined by lines, as in R
    np.testing.assert_allclose(ours.mean[0], theirs["mean"] * scale + center, rtol=close)
    for row, column in [(0, "lo-95.5"), (1, "lo-80"), (3, "hi-60"), (4, "hi-80")]:
        expected = theirs[column] * scale + center
        np.testing.assert_allclose(ours.quantiles[0, row], expected, rtol=close)


def test_covariates_reach_arima_as_the_library_would_have_them(model, series_of):
    from statsforecast.models import AutoARIMA

    rng = np.random.default_rng(3)
    promo = rng.normal(size=66)
    target = 20 + 5 * promo[:60] + rng.normal(size=60) * 0.1
    series = series_of(
        target,
        freq="YS",
        past_covariates={"promo": promo[:60]},
        future_covariates={"promo": promo[60:]},
    )
    center, scale = target.mean(), target.std()
    price, ahead = promo[:60, None], promo[60:, None]
    theirs = AutoARIMA().forecast(y=(target - center) / scale, h=6, X=price, X_future=ahead)
    [ours] = model.predict([series], task_of(model="auto_arima"))
    np.testing.assert_allclose(ours.mean[0], theirs["mean"] * scale + center, rtol=1e-3)
    np.testing.assert_allclose(ours.mean[0], 20 + 5 * promo[60:], rtol=0.1, atol=0.5)


def covariate_series(series_of, columns, target):
    past = {str(row): column[:-6] for row, column in enumerate(columns)}
    future = {str(row): column[-6:] for row, column in enumerate(columns)}
    return series_of(target, freq="YS", past_covariates=past, future_covariates=future)


def test_covariates_that_repeat_each_other_or_stand_still_are_left_out(model, series_of):
    rng = np.random.default_rng(3)
    one = rng.normal(size=66)
    target = one[:60] * 2 + rng.normal(size=60)
    series = covariate_series(series_of, [one, np.ones(66), 3 - 2 * one], target)
    [forecast] = model.predict([series], task_of(model="auto_arima"))
    [alone] = model.predict(
        [covariate_series(series_of, [one], target)], task_of(model="auto_arima")
    )
    assert forecast.warnings == ("covariates that say nothing new were left out: 1, 2",)
    np.testing.assert_allclose(forecast.mean, alone.mean)


def test_auto_regresses_on_covariates_that_help(model, series_of):
    draw = np.random.default_rng(3)
    promo = draw.normal(size=126)
    target = 50 + 3 * promo[:120] + 0.5 * draw.normal(size=120).cumsum()
    [forecast] = model.predict([covariate_series(series_of, [promo], target)], task_of())
    assert forecast.warnings == ()
    slope = np.polyfit(promo[120:], forecast.mean[0], 1)[0]
    assert slope == pytest.approx(3, rel=0.1)


def test_a_promotion_explains_ten_weeks(model, series_of):
    """From statsforecast#308: sales of 10, or 60 under a promotion."""
    promo = np.array([0.0, 1.0] * 5 + [1.0] * 6)
    target = np.array([11.0, *[60.0, 10.0] * 4, 60.0])
    [forecast] = model.predict([covariate_series(series_of, [promo], target)], task_of())
    np.testing.assert_allclose(forecast.mean[0], 60, rtol=0.05)


def test_a_covariate_that_only_repeats_the_season_is_named(model, series_of):
    draw = np.random.default_rng(4)
    weekend = (np.arange(66) % 7 == 0).astype(float)
    target = 20 + 5 * weekend[:60] + draw.normal(size=60)
    series = covariate_series(series_of, [weekend, draw.normal(size=66)], target)
    [forecast] = model.predict([replace(series, freq=Frequency.parse("D"))], task_of())
    assert "covariates that only repeat the season were not used: 0" in forecast.warnings


def test_a_covariate_that_says_nothing_disturbs_little_and_is_named(model, series_of):
    draw = np.random.default_rng(0)
    off = {True: [], False: []}
    notes = []
    for _ in range(20):
        target = 11400 + 10 * np.arange(126) + 300 * draw.normal(size=126)
        columns = [draw.normal(size=126), np.ones(126)]
        beside = covariate_series(series_of, columns, target[:120])
        for given, series in ((True, beside), (False, series_of(target[:120], freq="YS"))):
            [forecast] = model.predict([series], task_of())
            off[given].append(np.abs(forecast.mean[0] - target[120:]).mean())
            notes += forecast.warnings
    assert np.mean(off[True]) < 1.03 * np.mean(off[False])
    assert notes.count("constant covariates were left out: 1") == 20
    little = [note for note in notes if "did not help at earlier origins" in note]
    assert len(little) >= 8
    assert all(note.endswith(": 0") for note in little)
    short = covariate_series(series_of, columns[:1], target[:3])
    short = replace(short, past_covariates={"0": columns[0][:3]})
    [forecast] = model.predict([short], task_of())
    assert "naive does not use the covariates 0" in forecast.warnings


def test_covariates_weigh_as_much_as_they_helped_before(model, series_of):
    """One that stood in for the target's noise, but not in the latest quarter."""
    draw = np.random.default_rng(5)
    news = draw.normal(size=206)
    target = 50 + 2 * news[:200] + draw.normal(size=200)
    target[150:] -= 2.5 * news[150:200]
    [forecast] = model.predict([covariate_series(series_of, [news], target)], task_of())
    [warning] = forecast.warnings
    assert "did not help at earlier origins count for" in warning
    assert sum(forecast.methods.values()) == pytest.approx(1, abs=1e-3)
    slope = np.polyfit(news[200:], forecast.mean[0], 1)[0]
    assert 0.05 < slope < 1


def test_a_gap_in_a_covariate_is_filled(model, series_of):
    rng = np.random.default_rng(3)
    one = rng.normal(size=66)
    one[[0, 30, 62]] = np.nan
    [forecast] = model.predict(
        [covariate_series(series_of, [one], rng.normal(size=60))], task_of(model="auto_arima")
    )
    assert np.isfinite(forecast.mean).all()


def test_a_method_that_would_ignore_covariates_refuses_them(model, airline, series_of):
    series = covariate_series(series_of, [np.arange(150.0)], airline)
    with pytest.raises(InvalidRequest, match="auto_arima") as refusal:
        model.check(series, task_of(model="auto_ets"))
    assert refusal.value.errors[0].pointer == "/parameters/model_options/model"
    [ignored] = model.predict([series], task_of(model="auto_ets", ignore_covariates=True))
    plain = series_of(airline, freq="YS")
    [expected] = model.predict([plain], task_of(model="auto_ets"))
    assert ignored.warnings == ("ignored covariates: 0",)
    np.testing.assert_array_equal(ignored.mean, expected.mean)


def test_a_long_season_is_given_to_arima_as_harmonics(model, series_of):
    steps = np.arange(52 * 4)
    season = np.sin(2 * np.pi * steps / 52) + 0.5 * np.cos(4 * np.pi * steps / 52)
    target = 100 + 10 * season + np.random.default_rng(0).normal(size=len(steps)) * 0.1
    [forecast] = model.predict(
        [series_of(target[:-26], freq="W-SUN")], task_of(26, model="auto_arima")
    )
    np.testing.assert_allclose(forecast.mean[0], target[-26:], atol=1.0)


KINDS = {
    "random": lambda noise: noise,
    "constant": lambda noise: np.full(len(noise), 4.0),
    "line": lambda noise: np.arange(len(noise), dtype=float),
    "gaps": lambda noise: np.where(np.arange(len(noise)) % 3 == 1, np.nan, noise),
}
LENGTHS = (1, 2, 3, 4, 5, 9, 10, 13, 24, 25, 30)
# Every method with every length; the kinds in turn, so that each meets every method and length.
MIXED = [
    (name, length, sorted(KINDS)[(row + column) % len(KINDS)])
    for row, name in enumerate(METHODS)
    for column, length in enumerate(LENGTHS)
]


@pytest.mark.parametrize(("name", "length", "kind"), MIXED)
def test_any_history_gets_finite_ordered_quantiles(name, length, kind, model, series_of):
    values = KINDS[kind](np.random.default_rng(length).normal(size=length) + 3)
    for intervals in ("conformal", "native"):
        task = replace(task_of(3, model=name), intervals=intervals)
        [forecast] = model.predict([series_of(values)], task)
        assert np.isfinite(forecast.mean).all()
        assert (np.diff(forecast.quantiles, axis=1) >= 0).all()
        if kind == "constant":
            assert (forecast.mean == 4).all()
            assert (forecast.quantiles == 4).all()


def test_one_step_is_forecast_as_itself_with_a_warning(model, series_of):
    [forecast] = model.predict([series_of([5.0])], task_of(2))
    assert (forecast.quantiles == 5).all()
    assert any("too short to tell how far off" in warning for warning in forecast.warnings)


def test_leading_gaps_are_dropped_rather_than_made_up(model, airline, series_of):
    padded = series_of([np.nan] * 12 + list(airline))
    [forecast] = model.predict([padded], task_of(model="auto_ets"))
    [plain] = model.predict([series_of(airline)], task_of(model="auto_ets"))
    np.testing.assert_array_equal(forecast.mean, plain.mean)


def test_a_gap_at_the_end_is_forecast_over(model, series_of):
    """From sktime#918: a seasonal naive whose last two values are missing."""
    series = series_of([5.0, 6.0, 7.0, 8.0] * 3 + [5.0, 6.0])
    series.target[0, -2:] = np.nan
    [forecast] = model.predict([series], task_of(4, model="seasonal_naive", season_length=4))
    np.testing.assert_array_equal(forecast.mean[0], [7, 8, 5, 6])


def test_a_context_without_any_value_is_bad_data(model, series_of):
    series = series_of([1.0, 2.0, np.nan, np.nan])
    with pytest.raises(BadData, match="no observed value"):
        model.predict([series], ForecastTask(2, context_length=2))


def test_a_series_that_defeats_its_method_gets_the_naive_and_a_warning(
    model, airline, series_of, monkeypatch
):
    from statsforecast import models as library

    def fail(self, *_, **__):
        raise Exception("no model able to be fitted")  # noqa: TRY002 -- as the library does

    monkeypatch.setattr(library.AutoETS, "fit", fail)
    [forecast] = model.predict([series_of(airline)], task_of(12, model="auto_ets"))
    assert "auto_ets could not be fitted" in forecast.warnings[0]
    np.testing.assert_array_equal(forecast.mean[0], airline[-12:])


UNITS = [(1e-9, 0.0), (1.0, 1.7e9), (1e-250, 0.0), (1e145, 0.0), (4.5e7, 0.0)]
# ARIMA takes most of the time, and is scaled by the lines that scale the others.
SLOW_UNITS = list(product(["auto_arima"], UNITS[2:]))


@pytest.mark.parametrize(
    ("name", "scale", "level"),
    [
        pytest.param(name, *unit, marks=pytest.mark.slow if (name, unit) in SLOW_UNITS else ())
        for name, unit in product(METHODS, UNITS)
    ],
)
def test_a_unit_changes_nothing_but_the_unit(name, scale, level, model, series_of):
    noise = np.random.default_rng(0).normal(size=84)
    values = 10 + 3 * np.sin(2 * np.pi * np.arange(84) / 7) + noise
    series, other = (series_of(each, freq="D") for each in (values, values * scale + level))
    [plain], [moved] = (model.predict([each], task_of(model=name)) for each in (series, other))
    multiplies = name in {"auto_ets", "auto_theta"} and level
    close = {"atol": 1.5 if multiplies else 1e-4}
    np.testing.assert_allclose((moved.mean - level) / scale, plain.mean, **close)
    np.testing.assert_allclose((moved.quantiles - level) / scale, plain.quantiles, **close)


def test_daily_prices_get_no_week(model, series_of):
    steps = np.random.default_rng(4).normal(size=(10, 400))
    forecasts = model.predict(
        [series_of(100 * np.exp(0.01 * row.cumsum()), freq="D") for row in steps], task_of(28)
    )
    seasonal = [
        sum(each.methods.get(name, 0) for name in ("mstl", "auto_ces", "seasonal_naive"))
        for each in forecasts
    ]
    assert np.mean(seasonal) < 0.2
    assert all("naive" in each.methods for each in forecasts if "ets" in each.methods)


def test_the_answer_names_methods_and_weights(model, airline, series_of):
    [forecast] = model.predict([series_of(airline)], task_of(12))
    assert sum(forecast.methods.values()) == pytest.approx(1, abs=1e-3)
    assert {"mstl", "auto_ces"} <= set(forecast.methods)
    assert forecast.intervals == "conformal"


@pytest.mark.parametrize(
    ("kind", "length"),
    [
        *product(["walk"], [3, 5, 7, 9, 20]),
        *product(["noise", "trend"], [3, 5, 7, 9]),
        *(pytest.param(kind, 20, marks=pytest.mark.slow) for kind in ("noise", "trend")),
    ],
)
def test_short_histories_are_covered_about_as_promised(length, kind, model):
    noise = np.random.default_rng(length).normal(size=(150, length + 1))
    values = {"walk": noise.cumsum(axis=1), "noise": noise, "trend": noise + np.arange(length + 1)}[
        kind
    ]
    task = ForecastTask(1, (0.1, 0.9))
    # in parts too small for other processes
    forecasts = [model.predict([Series(row[None, :-1])], task)[0] for row in values]
    lower, upper = np.array([each.quantiles[0, :, 0] for each in forecasts]).T
    assert 0.68 < np.mean((lower <= values[:, -1]) & (values[:, -1] <= upper)) < 0.94
    assert all(
        low <= each.mean[0, 0] <= high
        for low, each, high in zip(lower, forecasts, upper, strict=True)
    )


def test_missing_values_make_no_interval_narrower(model):
    draw = np.random.default_rng(5)
    whole = draw.normal(size=(30, 36)).cumsum(axis=1)
    gappy = np.where(draw.random(whole.shape) < 0.3, np.nan, whole)
    gappy[:, [0, -1]] = whole[:, [0, -1]]
    widths = []
    for rows in (whole, gappy):
        quantiles = [model.predict([Series(row[None])], task_of())[0].quantiles[0] for row in rows]
        widths.append(np.mean([each[-1] - each[0] for each in quantiles]))
    assert widths[1] > widths[0]


def test_the_first_change_of_a_constant_gives_its_interval_a_width(model, series_of):
    for before in (29, 40, 99):
        [forecast] = model.predict([series_of([5.0] * before + [6.0])], task_of())
        assert (forecast.quantiles[0, -1] > forecast.quantiles[0, 0] + 0.01).all()


def test_errors_of_a_fit_that_knew_what_came_are_taken_to_be_larger():
    assert hindsight_of(60) == pytest.approx(np.sqrt(65 / 55))
    long = History(np.random.default_rng(0).normal(size=60))
    assert methods.fit("ets", long).hindsight == hindsight_of(60)
    assert methods.fit("naive", long).hindsight == 1
    assert methods.fit("ets", History(long.values[:30])).hindsight == 1  # fitted anew


def test_no_levels_are_no_quantiles(model, airline, series_of):
    [forecast] = model.predict([series_of(airline)], task_of(levels=()))
    assert forecast.quantiles.shape == (1, 0, 6)


def test_a_large_batch_on_all_cores_answers_as_its_members_alone(model, airline, series_of):
    batch = [series_of(airline[skip:] * (1 + skip)) for skip in range(48)]
    together = model.predict(batch, task_of())
    assert model._pool._executor is not None
    for series, forecast in list(zip(batch, together, strict=True))[::16]:
        [alone] = model.predict([series], task_of())
        np.testing.assert_allclose(forecast.mean, alone.mean, rtol=1e-9)
        np.testing.assert_allclose(forecast.quantiles, alone.quantiles, rtol=1e-9)


def test_a_small_or_cheap_batch_starts_no_process(airline, series_of):
    model = StatisticalModel.load_model(None)
    model.predict([series_of(airline)] * 3, task_of())
    model.predict([series_of(airline)] * 100, task_of(model="seasonal_naive"))
    assert model._pool._executor is None


def test_it_is_saved_as_its_configuration_alone(tmp_path, airline, series_of):
    model = StatisticalModel.load_model(None, context_length=48)
    model.save_model(tmp_path / "saved")
    again = StatisticalModel.load_model(tmp_path / "saved")
    assert again.config == model.config
    [one], [other] = (each.predict([series_of(airline)], task_of()) for each in (model, again))
    np.testing.assert_array_equal(one.quantiles, other.quantiles)
