"""Series and a model for the tests of Prophet."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from forecast.core.frequency import Frequency
from forecast.core.types import FloatArray, Series

pytest.importorskip("prophet", reason="pip install 'forecast-gateway[prophet]'")

from forecast.models.prophet.model import ProphetModel

SAMPLE = Path(__file__).parents[3] / "forecast/data/samples/air_passengers.csv"


@pytest.fixture(scope="session")
def airline() -> FloatArray:
    """The monthly airline passengers: [144]."""
    return np.loadtxt(SAMPLE, delimiter=",", skiprows=1, usecols=1)


@pytest.fixture
def series_of() -> Callable[..., Series]:
    def make(values, freq="D", **fields) -> Series:
        start = np.datetime64("2020-01-01T00:00:00")
        fields = {"start": start, "freq": freq and Frequency.parse(freq)} | fields
        return Series(np.array([values], dtype=np.float64), **fields)

    return make


@pytest.fixture
def endless_optimiser(tmp_path, monkeypatch) -> None:
    """Put a program that never ends in the place of Stan's."""
    from cmdstanpy import CmdStanModel
    from prophet.models import CmdStanPyBackend

    program = tmp_path / "prophet_model.bin"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    endless = CmdStanModel(exe_file=str(program))
    monkeypatch.setattr(CmdStanPyBackend, "load_model", lambda _: endless)


@pytest.fixture(scope="session")
def model() -> Iterator[ProphetModel]:
    """One for all tests, so that its workers start once."""
    model = ProphetModel.tiny()
    yield model
    model.close()
