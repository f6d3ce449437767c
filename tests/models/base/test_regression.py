import numpy as np
import pytest

from forecast.core.errors import BadData, InvalidRequest
from forecast.core.types import Series
from forecast.models.base.regression import (
    MAX_COLUMNS,
    Decoded,
    RegressionOptions,
    check_regression,
    fit,
    forecast_with_covariates,
    observed_part,
)

STEPS, HORIZON, PATCH = 80, 6, 32
FIRST = RegressionOptions()
AFTER = RegressionOptions(xreg_mode="timesfm + xreg")


def series_of(seed=0, steps=STEPS, horizon=HORIZON, item_id="a", **changes):
    random = np.random.default_rng(seed)
    price = random.normal(5, 2, steps + horizon)
    promo = random.choice(["no", "some", "yes"], steps + horizon)
    target = 3 * price[:steps] + 10 * (promo[:steps] == "yes") + random.normal(size=steps)
    fields = {
        "target": target[None],
        "item_id": item_id,
        "past_covariates": {"price": price[:steps], "promo": promo[:steps]},
        "future_covariates": {"price": price[steps:], "promo": promo[steps:]},
    }
    return Series(**(fields | changes))


def reference(x_past, x_future, y, ridge):
    """The formula of timesfm.utils.xreg_lib, on columns that are ready: intercept first."""
    center, scale = y.mean(), y.std()
    beta = np.linalg.solve(
        x_past.T @ x_past + ridge * np.eye(x_past.shape[1]), x_past.T @ ((y - center) / scale)
    )
    return (x_past @ beta) * scale + center, (x_future @ beta) * scale + center


def standardised(past, future):
    return (past - past.mean()) / past.std(), (future - past.mean()) / past.std()


def columns(series, *, drop_first):
    past, future = series.past_covariates, series.future_covariates
    price = standardised(past["price"], future["price"])
    kinds = ["no", "some", "yes"][int(drop_first) :]
    one_hot = [
        np.array([promo == kind for kind in kinds]) for promo in (past["promo"], future["promo"])
    ]
    return [
        np.column_stack([np.ones(len(numbers)), numbers, *flags])
        for numbers, flags in zip(price, one_hot, strict=True)
    ]


@pytest.mark.parametrize("ridge", [0.0, 0.5, 100.0])
def test_a_fit_is_the_reference_formula(ridge):
    series = series_of()
    x_past, x_future = columns(series, drop_first=ridge == 0)
    past, future = reference(x_past, x_future, series.target[0], ridge)
    found = fit(series, series.target[0], HORIZON, ridge)
    np.testing.assert_allclose(found.past * found.scale + found.center, past, rtol=1e-9)
    np.testing.assert_allclose(found.future * found.scale + found.center, future, rtol=1e-9)


def test_a_linear_relation_is_found_exactly():
    series = series_of()
    past, future = series.past_covariates, series.future_covariates
    target = 7 - 2 * past["price"] + 4 * (past["promo"] == "yes")
    truth = 7 - 2 * future["price"] + 4 * (future["promo"] == "yes")
    found = fit(series, target, HORIZON, 0.0)
    np.testing.assert_allclose(found.future * found.scale + found.center, truth, rtol=1e-9)


def test_missing_steps_are_left_out_of_the_fit():
    series = series_of()
    holed = series.target[0].copy()
    holed[[5, 6, 40]] = np.nan
    rows = ~np.isnan(holed)
    x = np.concatenate(columns(series, drop_first=True))
    numbers = np.concatenate([series.past_covariates["price"], series.future_covariates["price"]])
    known = series.past_covariates["price"][rows]
    x[:, 1] = (numbers - known.mean()) / known.std()
    _, future = reference(x[:STEPS][rows], x[STEPS:], holed[rows], 0.0)
    found = fit(series, holed, HORIZON, 0.0)
    np.testing.assert_allclose(found.future * found.scale + found.center, future, rtol=1e-9)


def test_gaps_in_a_covariate_lie_on_a_straight_line():
    series = series_of()
    gap = series.past_covariates["price"].copy()
    gap[10] = (gap[9] + gap[11]) / 2
    filled = series_of(past_covariates={**series.past_covariates, "price": gap.copy()})
    gap[10] = np.nan
    holed = series_of(past_covariates={**series.past_covariates, "price": gap})
    one, other = (fit(each, each.target[0], HORIZON, 0.0) for each in (filled, holed))
    np.testing.assert_allclose(one.future, other.future, rtol=1e-9)


def test_a_covariate_twice_says_the_same_as_once():
    series = series_of()
    twice = series_of(
        past_covariates={**series.past_covariates, "again": series.past_covariates["price"]},
        future_covariates={**series.future_covariates, "again": series.future_covariates["price"]},
    )
    once, both = (fit(each, each.target[0], HORIZON, 0.0) for each in (series, twice))
    np.testing.assert_allclose(once.future, both.future, rtol=1e-6)


def test_a_category_that_is_new_in_the_future_says_nothing():
    series = series_of()
    unseen = {**series.future_covariates, "promo": np.array(["never seen"] * HORIZON)}
    first = {**series.future_covariates, "promo": np.array(["no"] * HORIZON)}
    one = fit(series_of(future_covariates=unseen), series.target[0], HORIZON, 0.0)
    other = fit(series_of(future_covariates=first), series.target[0], HORIZON, 0.0)
    np.testing.assert_allclose(one.future, other.future, rtol=1e-9)


def test_a_flat_target_and_a_flat_covariate_are_finite():
    series = series_of()
    past = {**series.past_covariates, "price": np.full(STEPS, 4.0)}
    flat = series_of(past_covariates=past)
    found = fit(flat, np.full(STEPS, 8.0), HORIZON, 0.0)
    np.testing.assert_allclose(found.future * found.scale + found.center, np.full(HORIZON, 8.0))


def last_value(targets, backcast):
    """A model whose every head is the last value, and whose backcast lags by a step."""
    return [
        Decoded(
            heads=np.full((HORIZON, 2), target[-1]),
            backcast=target[PATCH - 1 : -1] if backcast else target[:0],
        )
        for target in targets
    ]


def test_regressing_first_leaves_the_residual_to_the_model():
    series = series_of()
    x_past, x_future = columns(series, drop_first=True)
    past, future = reference(x_past, x_future, series.target[0], 0.0)
    (heads,) = forecast_with_covariates([series], HORIZON, FIRST, last_value)
    expected = future + (series.target[0] - past)[-1]
    np.testing.assert_allclose(heads, np.column_stack([expected, expected]), rtol=1e-5)


def test_forecasting_first_leaves_the_errors_to_the_regression():
    series = series_of()
    known = series.last(STEPS - PATCH)
    x_past, x_future = columns(known, drop_first=True)
    errors = known.target[0] - series.target[0][PATCH - 1 : -1]
    _, future = reference(x_past, x_future, errors, 0.0)
    (heads,) = forecast_with_covariates([series], HORIZON, AFTER, last_value)
    np.testing.assert_allclose(heads[:, 0], series.target[0, -1] + future, rtol=1e-5)


@pytest.mark.parametrize("options", [FIRST, AFTER], ids=lambda options: options.xreg_mode)
def test_nothing_leaks_across_a_batch(options):
    batch = [series_of(seed, steps=40 + 11 * seed, item_id=str(seed)) for seed in range(4)]
    together = forecast_with_covariates(batch, HORIZON, options, last_value)
    for series, heads in zip(batch, together, strict=True):
        (alone,) = forecast_with_covariates([series], HORIZON, options, last_value)
        np.testing.assert_array_equal(heads, alone)


def test_without_covariates_the_model_sees_the_target_itself():
    series = Series(target=np.array([[1.0, np.nan, 3.0]]))
    seen = []

    def decode(targets, backcast):
        seen.append((targets[0].tolist(), backcast))
        return last_value(targets, backcast)

    (heads,) = forecast_with_covariates([series], HORIZON, AFTER, decode)
    assert seen == [([1.0, 2.0, 3.0], False)]
    assert (heads == 3).all()


def test_too_short_a_series_for_backcasts_is_refused_with_the_minimum():
    short = series_of(steps=32)
    check_regression(short, FIRST, 1000, PATCH)
    with pytest.raises(InvalidRequest, match="at least 33 past steps"):
        check_regression(short, AFTER, 1000, PATCH)
    with pytest.raises(InvalidRequest, match="at least 33 past steps"):
        check_regression(series_of(steps=50), AFTER, 32, PATCH)
    check_regression(series_of(steps=33), AFTER, 1000, PATCH)


def test_too_many_categories_are_refused_with_the_limit():
    steps = MAX_COLUMNS + 5
    names = np.array([f"shop {step}" for step in range(steps + HORIZON)])
    series = series_of(
        steps=steps,
        past_covariates={"shop": names[:steps]},
        future_covariates={"shop": names[steps:]},
    )
    with pytest.raises(InvalidRequest, match=f"at most {MAX_COLUMNS}"):
        check_regression(series, FIRST, 10_000, PATCH)
    check_regression(series, FIRST, 500, PATCH)


def test_a_covariate_without_a_value_is_named():
    nothing = {"price": np.full(STEPS, np.nan)}, {"price": np.full(HORIZON, np.nan)}
    series = series_of(past_covariates=nothing[0], future_covariates=nothing[1])
    with pytest.raises(BadData, match="'price'"):
        check_regression(series, FIRST, 1000, PATCH)


def test_the_unobserved_beginning_goes_with_its_covariates():
    target = series_of().target.copy()
    target[0, :7] = np.nan
    kept = observed_part(series_of(target=target))
    assert kept.length == STEPS - 7
    assert len(kept.past_covariates["promo"]) == STEPS - 7
    with pytest.raises(BadData, match="lengthen context_length"):
        observed_part(Series(target=np.full((1, 3), np.nan)))
