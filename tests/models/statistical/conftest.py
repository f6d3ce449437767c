"""Series and a model for the tests of the statistical family."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from forecast.core.frequency import Frequency
from forecast.core.types import FloatArray, Series

pytest.importorskip("statsforecast", reason="pip install 'forecast-gateway[statistical]'")

SAMPLE = Path(__file__).parents[3] / "forecast/data/samples/air_passengers.csv"


@pytest.fixture(scope="session")
def airline() -> FloatArray:
    """The monthly airline passengers: [144]."""
    return np.loadtxt(SAMPLE, delimiter=",", skiprows=1, usecols=1)


@pytest.fixture
def series_of() -> Callable[..., Series]:
    def make(values, freq="MS", **fields) -> Series:
        start = np.datetime64("1949-01-01T00:00:00")
        fields = {"start": start, "freq": Frequency.parse(freq)} | fields
        return Series(np.array([values], dtype=np.float64), **fields)

    return make


@pytest.fixture(scope="module")
def model() -> Iterator["object"]:
    from forecast.models.statistical.model import StatisticalModel

    model = StatisticalModel.tiny()
    yield model
    model.close()
