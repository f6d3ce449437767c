from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forecast.store.hub_settings import HubSettings
from forecast.store.sources import SourceResolver
from forecast.store.versions import ModelStore
from tests.fakes.hub import FakeHub
from tests.fakes.mlflow_server import MlflowServer, running_mlflow


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with running_mlflow(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
def make_resolver(tmp_path: Path, hub: FakeHub) -> Callable[..., SourceResolver]:
    """Make resolvers on one cache, as restarted processes would be."""

    def make(
        *,
        roots: object = (),
        mlflow: str | None = None,
        store: ModelStore | None = None,
        **settings: object,
    ) -> SourceResolver:
        return SourceResolver(
            local_roots=roots,
            cache=tmp_path / "cache",
            hub=HubSettings(**{"hf_endpoint": hub.endpoint, "hf_timeout_s": 5.0} | settings),
            mlflow_tracking_uri=mlflow,
            store=store,
        )

    return make
