"""The foundation model is one more candidate of the combination."""

import numpy as np
import pytest

from forecast.core.frequency import Frequency
from forecast.core.types import ForecastTask, Series
from forecast.models import MODEL_REGISTRY
from forecast.models.statistical import fitting
from forecast.models.statistical.foundation import FOUNDATION
from forecast.models.statistical.model import StatisticalModel, _job
from forecast.models.statistical.spec import StatisticalConfig, StatisticalOptions

TASK = ForecastTask(6, (0.1, 0.5, 0.9), options=StatisticalOptions())


def monthly(length, seed=0):
    steps = np.arange(length)
    noise = np.random.default_rng(seed).normal(0, 2, length)
    values = 50 + 10 * np.sin(2 * np.pi * steps / 12) + noise
    return Series(values[None], freq=Frequency.parse("MS"))


@pytest.mark.parametrize("length", [7, 60])
def test_auto_names_it_with_its_weight(length, model):
    (answer,) = model.predict([monthly(length)], TASK)
    assert 0.05 < answer.methods[FOUNDATION] < 1
    assert sum(answer.methods.values()) == pytest.approx(1, abs=1e-3)


def test_one_method_alone_does_not_ask_it(model):
    task = ForecastTask(6, options=StatisticalOptions(model="mstl"))
    (answer,) = model.predict([monthly(60)], task)
    assert set(answer.methods) == {"mstl"}


def test_several_series_at_once_get_what_each_gets_alone():
    series = [monthly(length, seed) for seed, length in enumerate((60, 20, 100, 61, 8))]
    jobs = [_job(one, TASK, StatisticalOptions())[0] for one in series]
    together = fitting.fit_some(jobs)
    for job, fit in zip(jobs, together, strict=True):
        (alone,) = fitting.fit_some([job])
        np.testing.assert_array_equal(fit.mean, alone.mean)
        np.testing.assert_array_equal(fit.quantiles, alone.quantiles)
        assert fit.methods == alone.methods


def test_a_kept_combination_forecasts_with_it_as_far_as_is_asked(tmp_path):
    series = monthly(60)
    config = StatisticalConfig(options=StatisticalOptions())
    fitted = StatisticalModel(config).fit([series])
    fitted.save_model(tmp_path / "saved")
    loaded = StatisticalModel.load_model(tmp_path / "saved")
    far = ForecastTask(30, (0.1, 0.9), options=StatisticalOptions())
    (kept,), (anew,) = loaded.predict([series], far), StatisticalModel().predict([series], far)
    assert FOUNDATION in kept.methods
    np.testing.assert_allclose(kept.mean, anew.mean, rtol=1e-9)


def test_its_weights_come_with_the_gateway():
    spec = MODEL_REGISTRY[FOUNDATION]
    assert spec.is_ready_at_once
    assert list(spec.packaged_weights.glob("*.safetensors"))
