"""A host in this process ends in order, whatever is under way; a real store and real threads."""

import asyncio
import threading
from datetime import UTC, datetime

import orjson
import pytest

from forecast.core.state import ModelMetadata
from forecast.data.policy import DataPolicy
from forecast.data.requests import RequestReader
from forecast.serving import inline
from forecast.serving.hosts import Call, Operation
from forecast.serving.inline import InlineHost
from forecast.serving.limits import ServingLimits
from forecast.serving.service import ModelService
from forecast.store.config import StoreConfig
from forecast.store.hub_settings import HubSettings
from forecast.store.sources import SourceResolver
from forecast.store.versions import ModelStore
from tests.serving.toy_model import ToyModel, spec_of, write_offset

PATIENCE_S = 60.0
BODY = orjson.dumps({"inputs": [{"target": [1.0, 2.0]}], "parameters": {"horizon": 1}})


@pytest.fixture(autouse=True)
def open_gates():
    ToyModel.closed.clear()
    for gate in (ToyModel.loading, ToyModel.predicting):
        gate.set()
    for passed in (ToyModel.entered, ToyModel.computing):
        while passed.acquire(blocking=False):
            pass
    yield
    ToyModel.loading.set()
    ToyModel.predicting.set()


@pytest.fixture
def shelf(tmp_path):
    shelf = ModelStore(StoreConfig(root=tmp_path / "models")).model("toy")
    for offset, name in enumerate(("v1.0", "v2.0"), start=1):
        with shelf.new_draft() as draft:
            model = ToyModel(ToyModel.spec.config())
            model.offset = float(offset)
            model.save_model(draft)
            created_at = datetime(2020 + offset, 1, 1, tzinfo=UTC)
            shelf.publish(draft, ModelMetadata(model_id="toy", version=name, created_at=created_at))
    shelf.aliases.set("current", "v1.0", who="a test")
    return shelf


def host_of(folder, **limits):
    write_offset(folder / "toy", 0.0)
    sources = SourceResolver(
        local_roots=[folder],
        cache=folder / "cache",
        hub=HubSettings(hf_offline=True),
        mlflow_tracking_uri=None,
        store=ModelStore(StoreConfig(root=folder / "models")),
    )
    service = ModelService(spec_of(), sources, ServingLimits(**limits))
    return InlineHost(service, RequestReader(DataPolicy()))


async def passed(gate: threading.Semaphore) -> None:
    assert await asyncio.to_thread(gate.acquire, timeout=PATIENCE_S)


def test_closing_while_the_current_version_is_followed_drains_and_ends_in_order(
    tmp_path, shelf, monkeypatch
):
    monkeypatch.setattr(inline, "_FOLLOW_S", 0.01)

    async def flow() -> None:
        host = host_of(tmp_path)
        await host.start()
        assert (await host.call(Call(Operation.INITIALIZATION, b"{}"))).status == 200
        await passed(ToyModel.entered)
        ToyModel.loading.clear()
        shelf.aliases.set("current", "v2.0", who="a test")
        await passed(ToyModel.entered)  # the followed load is under way
        ToyModel.predicting.clear()
        waiting = asyncio.ensure_future(host.call(Call(Operation.INFERENCE, BODY)))
        await passed(ToyModel.computing)
        closing = asyncio.ensure_future(host.close())
        await asyncio.sleep(0)
        assert ToyModel.closed == []
        ToyModel.loading.set()
        ToyModel.predicting.set()
        await closing
        answer = orjson.loads((await waiting).body)
        assert answer["model"]["version"] == "v1.0"
        assert sorted(model.offset for model in ToyModel.closed) == [1.0, 2.0]

    asyncio.run(flow())


def test_a_followed_load_that_fails_in_any_way_is_tried_again(tmp_path, shelf, monkeypatch):
    monkeypatch.setattr(inline, "_FOLLOW_S", 0.01)
    outcomes = iter([RuntimeError("of a library"), OSError(24, "too many open files")])

    def wrong(self, path) -> None:
        if (error := next(outcomes, None)) is not None:
            raise error
        original(self, path)

    async def flow() -> None:
        host = host_of(tmp_path)
        await host.start()
        await host.call(Call(Operation.INITIALIZATION, b"{}"))
        monkeypatch.setattr(ToyModel, "_load_model_weights", wrong)
        shelf.aliases.set("current", "v2.0", who="a test")
        async with asyncio.timeout(PATIENCE_S):
            while True:
                status = orjson.loads((await host.call(Call(Operation.STATUS))).body)
                if status["version"] == "v2.0":
                    break
                await asyncio.sleep(0.01)
        await host.close()

    original = ToyModel._load_model_weights
    asyncio.run(flow())


def test_a_model_that_still_computes_is_not_freed_under_its_thread(tmp_path, shelf):
    async def flow() -> None:
        host = host_of(tmp_path, shutdown_s=0.05)
        await host.start()
        await host.call(Call(Operation.INITIALIZATION, b"{}"))
        ToyModel.predicting.clear()
        waiting = asyncio.ensure_future(host.call(Call(Operation.INFERENCE, BODY)))
        await passed(ToyModel.computing)
        assert (await host.call(Call(Operation.SHUTDOWN))).status == 200
        assert ToyModel.closed == []
        ToyModel.predicting.set()
        assert (await waiting).status == 200
        async with asyncio.timeout(PATIENCE_S):
            while not ToyModel.closed:
                await asyncio.sleep(0.01)
        await host.close()

    asyncio.run(flow())
