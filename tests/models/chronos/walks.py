"""Series to forecast, and answers to compare."""

from dataclasses import replace

import numpy as np

from forecast.core.types import Forecast, Series


def walk(length: int, *, channels: int = 1, seed: int = 0) -> Series:
    """A random walk around 50, so that a scale and a level matter."""
    steps = np.random.default_rng([seed, length]).normal(size=(channels, length))
    return Series(50 + steps.cumsum(axis=1), item_id=f"walk of {length}")


def with_covariates(series: Series, horizon: int) -> Series:
    """Add a number known ahead, a category known ahead, and a number of the past only."""
    draw = np.random.default_rng(series.length)
    total = series.length + horizon
    temperature, wind = draw.normal(size=(2, total))
    weather = draw.choice(["sun", "rain", "snow"], size=total)
    cut = series.length
    return replace(
        series,
        past_covariates={
            "weather": weather[:cut],
            "wind": wind[:cut],
            "temperature": temperature[:cut],
        },
        future_covariates={"weather": weather[cut:], "temperature": temperature[cut:]},
    )


def assert_same(one: Forecast, other: Forecast, rtol: float = 1e-5) -> None:
    np.testing.assert_allclose(one.mean, other.mean, rtol=rtol)
    np.testing.assert_allclose(one.quantiles, other.quantiles, rtol=rtol)
