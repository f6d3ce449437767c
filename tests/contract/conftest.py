"""Every model of the registry, and every variant of one, made up and small."""

from collections.abc import Iterator

import pytest

from forecast.core.errors import MissingLibrary
from forecast.models import MODEL_REGISTRY
from forecast.models.base.model import BaseTimeSeriesModel


@pytest.fixture(scope="session", params=MODEL_REGISTRY.values(), ids=list(MODEL_REGISTRY))
def model(request: pytest.FixtureRequest) -> Iterator[BaseTimeSeriesModel]:
    try:
        model_class = request.param.model_class()
    except MissingLibrary as missing:
        pytest.skip(str(missing))
    made = model_class.tiny()
    yield made
    made.close()
