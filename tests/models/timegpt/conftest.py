from collections.abc import Iterator

import pytest

from tests.fakes.timegpt import FakeTimeGPT


@pytest.fixture
def service() -> Iterator[FakeTimeGPT]:
    with FakeTimeGPT() as running:
        yield running


@pytest.fixture
def load(service):
    """Load a model that asks the service; what is named here wins."""
    pytest.importorskip("nixtla", reason="the client of TimeGPT is not installed")
    from forecast.models.timegpt.model import TimeGPTModel

    def loaded(path=None, **changes):
        given = {"base_url": service.url, "api_key": service.key, "max_attempts": 1}
        return TimeGPTModel.load_model(path, **(given | changes))

    return loaded
