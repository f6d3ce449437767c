"""A known future covariate that repeats the target gets a warning, in every shape."""

import numpy as np
import orjson
import pytest

from forecast.data.policy import DataPolicy
from forecast.data.requests import RequestReader
from tests.data.conftest import make_spec

RNG = np.random.default_rng(0)
TARGET = RNG.normal(size=30)
NEAR = TARGET * -4e9 + 7 + RNG.normal(scale=1e6, size=30)
PROMO = RNG.normal(size=30)


def warnings(**covariates):
    past = {name: np.asarray(values).tolist() for name, values in covariates.items()}
    future = {name: values[:2] for name, values in past.items()}
    series = {"item_id": "a", "target": TARGET.tolist()}
    document = {
        "inputs": [series | {"past_covariates": past, "future_covariates": future}],
        "parameters": {"horizon": 2},
    }
    body = orjson.dumps(document)
    reader = RequestReader(DataPolicy())
    return reader.read(body, "application/json", make_spec(), default_horizon=None).warnings


@pytest.mark.parametrize("leak", [TARGET, NEAR, TARGET * 1e-200])
def test_a_covariate_that_repeats_the_target_gets_a_warning(leak):
    (warning,) = warnings(leak=leak, promo=PROMO)
    assert "'leak' follows the target of 'a' almost exactly (correlation above 0.999)" in warning


@pytest.mark.parametrize(
    "fine",
    [
        TARGET + RNG.normal(scale=0.2, size=30),  # explains much of it, as covariates do
        np.ones(30),
        np.roll(TARGET, 1),
        ["a", "b"] * 15,
    ],
)
def test_other_covariates_get_none(fine):
    assert warnings(fine=fine) == ()
