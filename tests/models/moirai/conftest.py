"""Series that the tests of Moirai forecast, and its checkpoints."""

import numpy as np
import pytest

from forecast.core.frequency import Frequency
from forecast.core.types import Series


@pytest.fixture
def series_of():
    def make(steps=64, seed=0, level=50.0, channels=1, freq="h", **changes):
        random = np.random.default_rng(seed)
        phases = np.arange(channels)[:, None]
        target = level + 10 * np.sin(np.arange(steps) / 4 + phases)
        fields = {
            "target": target + random.normal(size=target.shape),
            "item_id": str(seed),
            "channels": tuple(map(str, range(channels))) if channels > 1 else (),
            "start": np.datetime64("2024-01-01", "s"),
            "freq": Frequency.parse(freq),
        }
        return Series(**(fields | changes))

    return make
