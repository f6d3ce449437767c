"""A forecast as of a day is, bit for bit, that of the same request cut by hand, in every family."""

from typing import Any

import numpy as np
import orjson

from forecast.core.types import Forecast
from forecast.data.policy import DataPolicy
from forecast.data.requests import RequestReader
from forecast.models.base.model import BaseTimeSeriesModel
from forecast.models.spec import Capabilities
from tests.contract.forecasts import HORIZON, LENGTH

LATER = 20  # steps that nobody knew on the day
START, DAY = np.datetime64("2024-01-01"), np.datetime64("2024-01-01") + LENGTH - 1


def sent(able: Capabilities, seed: int) -> dict[str, Any]:
    """Make a series that goes on after the day, as it may have come by chance."""
    past, later = np.random.default_rng(7), np.random.default_rng(seed)
    ahead = past.normal(size=HORIZON)

    def values(known: Any = ()) -> list[float]:
        after = np.concatenate([known, later.normal(size=LATER - len(known))])
        return np.concatenate([past.normal(size=LENGTH), after]).tolist()

    series = {"item_id": "a", "start": str(START), "freq": "D", "target": values()}
    covariates = {"visits": values()} if able.past_covariates else {}
    if able.future_covariates:
        covariates["promo"] = values(ahead)
        series["future_covariates"] = {"promo": later.normal(size=HORIZON).tolist()}
    return series | {"past_covariates": covariates}


def cut(series: dict[str, Any]) -> dict[str, Any]:
    """Leave out by hand what came after the day."""
    past = {name: values[:LENGTH] for name, values in series["past_covariates"].items()}
    known = series["past_covariates"].get("promo", [])[LENGTH : LENGTH + HORIZON]
    future = {"future_covariates": {"promo": known}} if known else {}
    return series | future | {"target": series["target"][:LENGTH], "past_covariates": past}


def forecast(model: BaseTimeSeriesModel, series: dict[str, Any], **as_of: str) -> Forecast:
    document = {"inputs": [series], "parameters": {"horizon": HORIZON} | as_of}
    request = RequestReader(DataPolicy()).read(
        orjson.dumps(document), "application/json", model.spec, default_horizon=None
    )
    (answer,) = model.predict(request.series, request.task)
    return answer


def test_a_forecast_as_of_a_day_is_that_of_the_request_cut_by_hand(model):
    able = model.capabilities
    by_hand = forecast(model, cut(sent(able, seed=0)))
    for seed in (0, 1):
        answer = forecast(model, sent(able, seed), as_of=str(DAY))
        np.testing.assert_array_equal(answer.mean, by_hand.mean)
        np.testing.assert_array_equal(answer.quantiles, by_hand.quantiles)
        assert answer.warnings == by_hand.warnings
