import pytest

from forecast.core.types import Series
from forecast.models.ts2vec.model import Ts2VecModel
from tests.models.ts2vec.sines import config_of, sine


@pytest.fixture(scope="session")
def trained():
    """Trained once on a noisy sine, tested on what comes after."""
    whole = sine(500)
    train = Series(target=whole.target[:, :300])
    validation = Series(target=whole.target[:, 276:400])
    return Ts2VecModel(config_of()).fit([train], [validation]), whole


@pytest.fixture
def small():
    """Train a model of one's own, for a moment."""

    def train(series=None, validation=None, *, checkpoints=None, on_progress=None, **changes):
        model = Ts2VecModel(config_of(**({"max_steps": 3} | changes)))
        return model.fit(
            series or [sine()], validation, checkpoints=checkpoints, on_progress=on_progress
        )

    return train
