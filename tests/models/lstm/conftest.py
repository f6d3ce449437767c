import pytest

from forecast.core.types import Series
from forecast.models.lstm.model import LstmModel
from tests.models.lstm.waves import config_of, wave


@pytest.fixture(scope="session")
def trained():
    """Trained once on a noisy sine, tested on what comes after."""
    whole = wave(500)
    train = Series(target=whole.target[:, :300])
    validation = Series(target=whole.target[:, 276:400])
    return LstmModel(config_of()).fit([train], [validation]), whole


@pytest.fixture
def small():
    """Train a model of one's own, for a moment."""

    def train(series=None, validation=None, *, checkpoints=None, on_progress=None, **changes):
        model = LstmModel(config_of(**({"max_epochs": 1} | changes)))
        return model.fit(
            series or [wave()], validation, checkpoints=checkpoints, on_progress=on_progress
        )

    return train
