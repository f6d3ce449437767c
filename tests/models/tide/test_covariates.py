"""Covariates of the past, known ahead and static: each decides a series of its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from forecast.core.errors import InvalidRequest
from forecast.core.types import ForecastTask, Series
from forecast.models.tide.model import TideModel
from forecast.models.tide.spec import TideConfig
from forecast.models.tide.static import StaticFeatures

HORIZON = 6
TASK = ForecastTask(horizon=HORIZON)
CONFIG = TideConfig(
    device="cpu",
    context_length=12,
    horizon=HORIZON,
    hidden_dim=32,
    num_layers=1,
    decoder_dim=4,
    temporal_decoder_dim=16,
    dropout=0.0,
    batch_size=64,
    learning_rate=5e-3,
    max_epochs=15,
)
IGNORE = {"ignore_covariates": True}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def with_promo(length: int = 400, seed: int = 0) -> Series:
    """Sales that nothing but a promotion moves."""
    rng = np.random.default_rng(seed)
    promo = (rng.random(length + HORIZON) < 0.3).astype(float)
    target = 50 + 20 * promo + rng.normal(0, 0.5, length + HORIZON)
    return Series(
        target=target[None, :length],
        past_covariates={"promo": promo[:length]},
        future_covariates={"promo": promo[length:]},
    )


def follower(length: int = 400, seed: int = 0) -> Series:
    """A series that repeats a covariate six steps later."""
    rng = np.random.default_rng(seed)
    leader = rng.normal(size=length + HORIZON)
    return Series(target=10 + leader[None, :length], past_covariates={"leader": leader[HORIZON:]})


def regional(region: str, size: float, seed: int = 0) -> Series:
    """Twelve steps of noise, then six above it in the north and below it in the south."""
    rng = np.random.default_rng(seed)
    above = {"north": 3.0, "south": -3.0}[region]
    target = rng.normal(0, 1, 12 + HORIZON) + np.repeat([0.0, above], [12, HORIZON])
    return Series(target=target[None], static_covariates={"region": region, "size": size})


def in_own_unit(unit: float, seed: int = 0) -> Series:
    """A series that a covariate moves by 3, in a unit of its own."""
    rng = np.random.default_rng(seed)
    price = rng.normal(size=400 + HORIZON)
    target = 10 + 3 * price + rng.normal(0, 0.5, len(price))
    price = unit * (10 + price)
    return Series(
        target=target[None, :400],
        past_covariates={"price": price[:400]},
        future_covariates={"price": price[400:]},
    )


@pytest.fixture(scope="module")
def promoted() -> TideModel:
    return TideModel(CONFIG).fit([with_promo()])


def test_a_covariate_counts_in_the_unit_that_it_has_in_its_own_series():
    units = (1e-3, 1.0, 1e6)
    panel = [in_own_unit(unit, seed) for seed, unit in enumerate(units)]
    model = TideModel(CONFIG.model_copy(update={"context_length": 36})).fit(panel)
    moved = [effect_of(model, *pair) for pair in zip(panel, units, strict=True)]
    np.testing.assert_allclose(moved, 3, atol=1.2)
    assert np.mean(moved) == pytest.approx(3, abs=0.6)


def effect_of(model: TideModel, series: Series, unit: float) -> float:
    """Measure by how much a forecast rises with the price."""
    low, high = (
        replace(series, future_covariates={"price": unit * np.full(HORIZON, 10 + move)})
        for move in (-0.5, 0.5)
    )
    (one,), (other,) = (model.predict([each], TASK) for each in (low, high))
    return float((other.mean - one.mean).mean())


def test_what_is_known_ahead_decides_the_forecast(promoted):
    series = with_promo(60, seed=5)
    promo = np.array([0, 1, 1, 0, 0, 1.0])
    series = replace(series, future_covariates={"promo": promo})
    forecast = promoted.predict([series], TASK)[0]
    np.testing.assert_allclose(forecast.mean[0], 50 + 20 * promo, atol=4)


def test_a_covariate_of_the_past_that_leads_is_followed():
    model = TideModel(CONFIG).fit([follower(800)])
    assert not model.capabilities.future_covariates
    series = follower(60, seed=5)
    leader = series.past_covariates["leader"]
    forecast = model.predict([series], TASK)[0]
    np.testing.assert_allclose(forecast.mean[0], 10 + leader[-HORIZON:], atol=0.7)


def test_a_static_category_decides_the_forecast():
    train = [regional(region, 3.0, seed) for seed in range(99) for region in ("north", "south")]
    model = TideModel(CONFIG).fit(train)
    flat = regional("north", 3.0, 999).target[:, :12]
    north, south = (
        model.predict([replace(regional(region, 3.0), target=flat)], TASK)[0].mean.mean()
        for region in ("north", "south")
    )
    assert north > south + 2
    elsewhere = replace(
        regional("north", 3.0), target=flat, static_covariates={"region": "west", "size": 3.0}
    )
    assert np.isfinite(model.predict([elsewhere], TASK)[0].mean).all()


def test_a_shorter_horizon_takes_as_many_future_values(promoted):
    series = with_promo(60, seed=5)
    short = replace(series, future_covariates={"promo": series.future_covariates["promo"][:2]})
    assert promoted.predict([short], replace(TASK, horizon=2))[0].mean.shape == (1, 2)


def test_covariates_of_another_name_are_refused_by_name(promoted):
    plain = replace(with_promo(60), past_covariates={}, future_covariates={})
    with pytest.raises(InvalidRequest, match="promo"):
        promoted.predict([plain], TASK)
    more = replace(
        with_promo(60), past_covariates={**with_promo(60).past_covariates, "price": np.ones(60)}
    )
    with pytest.raises(InvalidRequest, match="price"):
        promoted.predict([more], TASK)
    ignoring = replace(TASK, options=promoted.spec.options(**IGNORE))
    np.testing.assert_array_equal(
        promoted.predict([more], ignoring)[0].mean,
        promoted.predict([with_promo(60)], TASK)[0].mean,
    )


def test_a_missing_covariate_value_counts_as_its_training_mean(promoted):
    series = with_promo(60)
    past = series.past_covariates["promo"].copy()
    past[-5:] = np.nan
    forecast = promoted.predict([replace(series, past_covariates={"promo": past})], TASK)[0]
    assert np.isfinite(forecast.mean).all()


def test_a_covariate_may_be_named_as_known_ahead_without_future_values():
    series = replace(with_promo(200), future_covariates={})
    config = CONFIG.model_copy(update={"known_ahead": ("promo",), "max_epochs": 1})
    model = TideModel(config).fit([series])
    assert model.capabilities.future_covariates
    with pytest.raises(InvalidRequest, match="lacks the future values of covariate promo"):
        model.predict([series], TASK)


def test_all_covariates_are_kept_with_the_weights(tmp_path):
    series = [
        replace(with_promo(200, seed), static_covariates={"region": region, "size": size})
        for seed, (region, size) in enumerate([("north", 3.0), ("south", 5.0)])
    ]
    model = TideModel(CONFIG.model_copy(update={"max_epochs": 1})).fit(series)
    model.save_model(tmp_path / "saved")
    loaded = TideModel.load_model(tmp_path / "saved")
    assert loaded.capabilities == model.capabilities
    assert loaded.capabilities.static_covariates
    for one in series:
        before, after = (each.predict([one], TASK)[0].quantiles for each in (model, loaded))
        np.testing.assert_array_equal(before, after)
    with pytest.raises(InvalidRequest, match="region"):
        loaded.predict([with_promo(60)], TASK)


def test_fine_tuning_takes_the_covariates_it_was_trained_on(promoted, tmp_path):
    promoted.save_model(tmp_path / "saved")
    tuned = TideModel.load_model(tmp_path / "saved", training_mode="fine_tune", max_steps=2)
    with pytest.raises(InvalidRequest, match="promo"):
        tuned.fit([follower(100)])
    tuned.fit([with_promo(100, seed=3)])
    assert tuned.features == promoted.features


def test_static_numbers_and_texts_are_told_apart():
    series = [regional("north", 3.0), regional("south", 5.0)]
    static = StaticFeatures.of(series)
    assert len(static) == 3
    np.testing.assert_allclose(static.encode(series[0]), [-1, 1, 0])
    with pytest.raises(InvalidRequest, match="'size'.*not a number"):
        static.check(replace(series[0], static_covariates={"region": "north", "size": "big"}))
    with pytest.raises(InvalidRequest, match="'size' is a number in one"):
        StaticFeatures.of(
            [series[0], replace(series[1], static_covariates={"region": "n", "size": "x"})]
        )


def test_too_many_categories_are_refused():
    one = regional("north", 1.0)
    series = [replace(one, static_covariates={"id": f"item {i}"}) for i in range(1001)]
    with pytest.raises(InvalidRequest, match="1001 categories"):
        StaticFeatures.of(series)
