"""The weights that are shipped: what a caller gets from the first second."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file
from threadpoolctl import threadpool_info, threadpool_limits

from forecast.core.errors import BadData
from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.models.sprout import model as sprout_model
from forecast.models.sprout.forward import forward
from forecast.models.sprout.model import SproutModel
from forecast.models.sprout.prepared import prepare

DECILES = tuple(np.round(np.arange(0.1, 1, 0.1), 1))


@pytest.fixture(scope="module")
def model():
    return SproutModel.tiny()


def series_of(values, freq="h"):
    return Series(
        target=np.atleast_2d(np.asarray(values, dtype=float)),
        start=np.datetime64("2024-01-01", "s"),
        freq=Frequency.parse(freq),
    )


def forecast(model, values, horizon, freq="h"):
    return model.predict([series_of(values, freq)], ForecastTask(horizon, DECILES))[0]


def noisy_days(steps=500, seed=0):
    rng = np.random.default_rng(seed)
    return 20 + 5 * np.sin(2 * np.pi * np.arange(steps) / 24) + rng.standard_normal(steps)


def visits(steps=500, seed=0):
    """Simulate hourly counts of visits, which vary in proportion to their level."""
    rng = np.random.default_rng(seed)
    day = np.sin(2 * np.pi * np.arange(steps) / 24)
    return np.exp(5 + 2 * day + 0.15 * rng.standard_normal(steps))


def walk(steps=500, seed=0):
    return np.cumsum(np.random.default_rng(seed).standard_normal(steps))


def test_serving_imports_no_torch():
    code = (
        "import sys; from forecast.models.sprout.model import SproutModel; SproutModel.tiny();"
        "print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_weights_of_another_network_are_refused(tmp_path):
    save_file({"patch": np.zeros((2, 2), np.float32)}, tmp_path / "sprout.safetensors")
    with pytest.raises(BadData, match="another network"):
        SproutModel.load_model(tmp_path)


def test_a_season_goes_on_and_its_interval_holds(model):
    values = noisy_days(548)
    answer = forecast(model, values[:500], 48)
    truth = 20 + 5 * np.sin(2 * np.pi * np.arange(500, 548) / 24)
    assert np.abs(answer.mean[0] - truth).mean() < 0.6
    inside = (values[500:] >= answer.quantiles[0, 0]) & (values[500:] <= answer.quantiles[0, -1])
    assert 0.6 < inside.mean() <= 1


def test_a_season_without_noise_goes_on_exactly(model):
    values = 5 * np.sin(2 * np.pi * np.arange(248) / 24)
    answer = forecast(model, values[:200], 48)
    np.testing.assert_allclose(answer.mean[0], values[200:], atol=0.05)


def test_a_line_goes_on(model):
    answer = forecast(model, np.arange(100.0), 24, "D")
    np.testing.assert_allclose(answer.mean[0], np.arange(100, 124), atol=1)


@pytest.mark.parametrize("steps", [24, 50, 100])
def test_one_step_up_is_not_taken_for_a_season_on_a_line(model, steps):
    """A change that was seen over one season only may be a step; it was continued as a line."""
    answer = forecast(model, [10.0] * steps + [100.0] * steps, 24)
    np.testing.assert_allclose(answer.mean[0], 100, atol=12)


def test_a_season_on_a_line_goes_on_exactly(model):
    values = 10 * np.sin(2 * np.pi * np.arange(124) / 24) + np.arange(124)
    answer = forecast(model, values[:100], 24)
    np.testing.assert_allclose(answer.mean[0], values[100:], atol=0.1)


def test_a_constant_stays_as_it_is(model):
    answer = forecast(model, np.full(60, 7.25), 300)
    assert (answer.mean == 7.25).all()
    assert (answer.quantiles == 7.25).all()


@pytest.mark.parametrize("simulated", [noisy_days, visits, walk])
@pytest.mark.parametrize(("factor", "offset"), [(1000.0, 5e4), (1e-9, -1e-6), (3.0, -1e6)])
def test_it_does_not_matter_in_what_unit_a_series_is(model, factor, offset, simulated):
    values = simulated()
    values -= values.max() + 1  # below 0, or no forecast may be
    plain = forecast(model, values, 200)
    moved = forecast(model, values * factor + offset, 200)
    spread = values.std()
    np.testing.assert_allclose(
        (moved.quantiles - offset) / factor, plain.quantiles, atol=1e-6 * spread
    )


def test_huge_and_tiny_values_are_forecast(model):
    for size in (1e140, 1e-300):
        answer = forecast(model, size * noisy_days(), 200)
        assert np.isfinite(answer.quantiles).all()
        assert 10 < answer.mean.mean() / size < 30


@pytest.mark.parametrize("horizon", [40, 300])
def test_a_series_gets_the_same_bits_alone_and_in_company(model, horizon):
    lengths = (1, 2, 30, 31, 200, 500, 900)
    batch = [
        series_of(values(steps, steps)) for steps in lengths for values in (noisy_days, visits)
    ]
    task = ForecastTask(horizon, DECILES)
    together = model.predict(batch, task)
    for series, answer in zip(batch, together, strict=True):
        alone = model.predict([series], task)[0]
        np.testing.assert_array_equal(answer.quantiles, alone.quantiles)


def test_a_horizon_does_not_change_what_comes_before(model):
    short, long = (forecast(model, noisy_days(), horizon) for horizon in (10, 128))
    np.testing.assert_allclose(short.quantiles, long.quantiles[:, :, :10], rtol=1e-5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("simulated", [walk, noisy_days])
def test_intervals_do_not_shrink_beyond_one_pass(model, simulated, seed):
    """A step is compared with the one a season before, also where the season is chance."""
    values = simulated(512, seed)
    season = 24 if simulated is noisy_days else prepare(values[None]).found[0, 0]
    season = season if season <= 56 else 1
    answer = forecast(model, values, 1024, "h" if simulated is noisy_days else "YS")
    width = (answer.quantiles[0, -1] - answer.quantiles[0, 0])[128 - season :]
    later, earlier = width[season:], width[:-season]
    assert (later >= earlier * (1 - 1e-6)).all()
    assert later[-season:].mean() > 1.02 * earlier[:season].mean()


def test_missing_last_steps_are_forecast_over(model):
    """A gap at the end is a longer horizon, not a value made up."""
    values = noisy_days()
    whole = forecast(model, values[:490], 34)
    values[490:] = np.nan
    after_gap = forecast(model, values, 24)
    np.testing.assert_allclose(after_gap.quantiles, whole.quantiles[:, :, 10:])


def test_channels_are_forecast_one_by_one(model):
    first, second = noisy_days(seed=1), noisy_days(300, seed=2)
    both = np.vstack([first, np.concatenate([np.full(200, np.nan), second])])
    series = replace(series_of(both), channels=("a", "b"))
    answer = model.predict([series], ForecastTask(24, DECILES))[0]
    for channel, values in enumerate((first, second)):
        alone = forecast(model, values, 24)
        np.testing.assert_array_equal(answer.quantiles[channel], alone.quantiles[0])


def test_intervals_of_95_percent_are_wider_and_hold_too(model):
    whole = [noisy_days(524, seed) for seed in range(30)]
    task = ForecastTask(24, (0.025, 0.1, 0.9, 0.975))
    answers = model.predict([series_of(values[:500]) for values in whole], task)
    assert not any(answer.warnings for answer in answers)
    low, lower, upper, high = np.stack([answer.quantiles[0] for answer in answers], axis=1)
    assert ((high - low) > 1.3 * (upper - lower)).all()
    future = np.stack(whole)[:, 500:]
    assert 0.92 < ((low <= future) & (future <= high)).mean() < 1


def test_quantiles_do_not_cross(model):
    batch = [
        series_of(values(steps)) for values in (noisy_days, visits, walk) for steps in (3, 700)
    ]
    for answer in model.predict(batch, ForecastTask(300, (0.01, *DECILES, 0.99))):
        assert (np.diff(answer.quantiles, axis=1) >= 0).all()


@pytest.mark.parametrize("steps", [2, 3, 5, 10])
def test_intervals_from_few_steps_hold(model, steps):
    rng = np.random.default_rng(steps)
    shocks = rng.standard_normal((200, steps + 8))
    for values, least in ((shocks, 0.75), (np.cumsum(shocks, axis=1), 0.6)):
        batch = [series_of(20 + row[:steps], "D") for row in values]
        answers = model.predict(batch, ForecastTask(8, DECILES))
        low, high = (np.stack([a.quantiles[0, at] for a in answers]) for at in (0, -1))
        future = 20 + values[:, steps:]
        assert ((low <= future) & (future <= high)).mean() > least


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 10])
def test_few_steps_give_wide_intervals(model, steps):
    values = noisy_days(steps, seed=steps)
    answer = forecast(model, values, 8, "D")
    width = answer.quantiles[0, -1] - answer.quantiles[0, 0]
    assert (width > 0.5).all()
    assert (steps == 1) == any("too few" in warning for warning in answer.warnings)


@pytest.mark.parametrize("value", [0.0, 1e-9, -7.0])
def test_equal_values_leave_less_to_chance_the_more_there_are(model, value):
    """Ten are still a guess, which the answer says; eleven are a constant."""
    answers = [forecast(model, np.full(steps, value), 8, "D") for steps in range(1, 12)]
    assert all((answer.mean == value).all() for answer in answers)
    widths = np.array([answer.quantiles[0, -1] - answer.quantiles[0, 0] for answer in answers])
    assert (widths[:10] > 0).all()
    assert (np.diff(widths, axis=0) < 0).all()
    assert (np.diff(widths[:10], axis=1) > 0).all()
    assert (widths[10] == 0).all()
    assert [bool(answer.warnings) for answer in answers] == [True] * 10 + [False]
    assert (value < 0) == (answers[0].quantiles.min() < 0)


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0, 5.0]])
def test_what_is_too_short_to_be_calibrated_keeps_its_own_quantiles_and_says_so(model, values):
    task = ForecastTask(8, DECILES, intervals="conformal")
    [answer] = model.predict([series_of(values, "D")], task)
    native = forecast(model, values, 8, "D")
    np.testing.assert_array_equal(answer.quantiles, native.quantiles)
    assert answer.intervals == "native"
    assert answer.warnings[-1].endswith("they are the model's own")


def test_what_was_never_negative_is_not_forecast_negative(model):
    counts = np.random.default_rng(0).poisson(0.3, 200)
    assert forecast(model, counts, 30, "D").quantiles.min() == 0


def test_seasons_may_be_named(model):
    values = np.tile(np.random.default_rng(0).standard_normal(11), 20)
    series = replace(series_of(values), start=None, freq=None)
    options = model.spec.options(season_lengths=(11,))
    answer = model.predict([series], ForecastTask(11, options=options))[0]
    np.testing.assert_allclose(answer.mean[0], values[:11], atol=0.1)


def threads_of_numpy() -> list[int]:
    """Count those of NumPy's BLAS; SciPy loads another one, which computes nothing here."""
    return [each["num_threads"] for each in threadpool_info() if "numpy" in each["filepath"]]


def test_it_computes_on_one_thread_whatever_the_process_may_use(monkeypatch):
    seen = []

    def counted(*arguments):
        seen.extend(threads_of_numpy())
        return forward(*arguments)

    monkeypatch.setattr(sprout_model, "forward", counted)
    with threadpool_limits(2, "blas"):
        SproutModel.tiny().predict([Series(np.arange(40.0)[None])], ForecastTask(3))
        after = threads_of_numpy()
    assert set(seen) == {1}
    assert set(after) == {2}


def test_seasons_that_explain_the_past_badly_count_for_little(model):
    series = [series_of(noisy_days(500, seed)) for seed in range(10)]
    truth = 20 + 5 * np.sin(2 * np.pi * np.arange(500, 548) / 24)
    errors = []
    for named in ((24,), (7,)):
        options = model.spec.options(season_lengths=named)
        answers = model.predict(series, ForecastTask(48, options=options))
        errors.append(np.abs([answer.mean[0] - truth for answer in answers]).mean())
    right, wrong = errors
    assert wrong < 2.2 * right  # a plain average of both: four times
