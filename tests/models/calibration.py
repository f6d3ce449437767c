"""A foundation model that was tuned sizes its intervals by the validation split."""

from pathlib import Path

import numpy as np

from forecast.core.types import ForecastTask, Series
from forecast.models.base.model import BaseTimeSeriesModel

TASK = ForecastTask(16)
# Of a tiny model: made-up weights, left nearly as they are.
CONFIG = {"device": "cpu", "horizon": 16, "context_length": 64, "max_steps": 1}


def calibrates_by_validation(model: BaseTimeSeriesModel, folder: Path) -> None:
    """Tuned on noise, it covers fresh noise; saved and loaded, it answers the same."""
    draw = np.random.default_rng(1)
    noisy = [Series(50 + draw.normal(size=(1, 200)), item_id=str(n)) for n in range(3)]
    model.fit(noisy, [Series(50 + draw.normal(size=(1, 200)))])
    fresh = [Series(50 + draw.normal(size=(1, 96))) for _ in range(20)]
    forecasts = model.predict([one.until(80) for one in fresh], TASK)
    assert {one.intervals for one in forecasts} == {"conformal"}
    bounds = np.stack([one.quantiles[0, [0, 2]] for one in forecasts])  # [N, 2, H]
    actual = np.stack([one.target[0, 80:] for one in fresh])
    assert 0.68 < ((bounds[:, 0] <= actual) & (actual <= bounds[:, 1])).mean() < 0.92
    (native,) = model.predict([fresh[0]], ForecastTask(16, intervals="native"))
    assert native.intervals == "native"
    model.save_model(folder)
    loaded = type(model).load_model(folder)
    one, other = (each.predict([fresh[0]], TASK)[0] for each in (model, loaded))
    np.testing.assert_allclose(one.quantiles, other.quantiles, rtol=1e-5)
