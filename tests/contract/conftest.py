"""Every model of the registry, in each of its variants, made up and small."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import import_module

import pytest

from forecast.core.errors import MissingLibrary
from forecast.models import MODEL_REGISTRY
from forecast.models.base.model import BaseTimeSeriesModel
from tests.fakes.timegpt import FakeTimeGPT

# A model that asks a service of its makers asks one on loopback instead.
STAND_INS = {"timegpt": FakeTimeGPT}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that wants a model over every one of them."""
    if "model" not in metafunc.fixturenames:
        return
    environment = metafunc.config.getoption("--environment")
    specs = [spec for spec in MODEL_REGISTRY.values() if spec.environment == environment]
    if named := metafunc.config.getoption("--spec"):
        module, _, name = named.partition(":")
        specs = [getattr(import_module(module), name)]
    chosen = [(spec, variant) for spec in specs for variant in spec.variants or (None,)]
    ids = ["-".join(filter(None, (spec.model_id, variant))) for spec, variant in chosen]
    metafunc.parametrize("model", chosen, ids=ids, indirect=True, scope="session")


@pytest.fixture(scope="session")
def model(request: pytest.FixtureRequest) -> Iterator[BaseTimeSeriesModel]:
    spec, variant = request.param
    try:
        model_class = spec.model_class()
    except MissingLibrary as missing:
        if "CI" in os.environ:
            raise
        pytest.skip(str(missing))
    with ExitStack() as services:
        given: dict[str, str] = {}
        if stand_in := STAND_INS.get(spec.model_id):
            service = services.enter_context(stand_in())
            given = {"base_url": service.url, "api_key": service.key}
        made = model_class.tiny(variant) if variant else model_class.tiny(**given)
        yield made
        made.close()
