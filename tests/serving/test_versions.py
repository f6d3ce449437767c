"""Versions loaded beside the active one: how many, how long, and who waits for whom."""

import asyncio
import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from forecast.core.errors import (
    BadData,
    DeadlinePassed,
    Draining,
    InvalidRequest,
    ModelNotReady,
    VersionDamaged,
    VersionNotFound,
)
from forecast.core.state import ModelMetadata
from forecast.core.types import ForecastTask, Series
from forecast.data.parameters import Wanted
from forecast.data.policy import DataPolicy
from forecast.data.requests import RequestReader
from forecast.serving.hosts import Call, Operation
from forecast.serving.inline import InlineHost
from forecast.serving.limits import ServingLimits
from forecast.serving.service import LoadRequest, ModelService, ModelState
from forecast.store.config import StoreConfig
from forecast.store.hub_settings import HubSettings
from forecast.store.sources import SourceResolver
from forecast.store.versions import ModelStore
from tests.examples import examples
from tests.serving.toy_model import ToyModel, spec_of, write_offset

PATIENCE_S = 60.0
TASK = ForecastTask(horizon=3, quantile_levels=(0.5,))
NAMES = ("v1.0", "v2.0", "v3.0")


@pytest.fixture(autouse=True)
def open_gate():
    ToyModel.loading.set()
    ToyModel.closed.clear()
    while ToyModel.entered.acquire(blocking=False):
        pass
    yield
    ToyModel.loading.set()


@pytest.fixture
def shelf(tmp_path):
    shelf = ModelStore(StoreConfig(root=tmp_path / "models", max_versions=1)).model("toy")
    for year, name in enumerate(NAMES):
        publish(shelf, name, float(name[1]), created_at=datetime(2020 + year, 1, 1, tzinfo=UTC))
    return shelf


@pytest.fixture
def serve(tmp_path, shelf):
    """Make services that are shut down in the end."""
    made = []
    write_offset(tmp_path / "default", 0.0)

    def make(*, spec=None, **limits):
        sources = SourceResolver(
            local_roots=[tmp_path],
            cache=tmp_path / "cache",
            hub=HubSettings(hf_offline=True),
            mlflow_tracking_uri=None,
            store=ModelStore(StoreConfig(root=tmp_path / "models")),
        )
        service = ModelService(
            spec or spec_of(weights="local:default"), sources, ServingLimits(**limits)
        )
        made.append(service)
        return service

    yield make
    ToyModel.loading.set()
    for service in made:
        service.shutdown_model()


@pytest.fixture
def service(serve):
    service = serve(versions_loaded=2)
    service.initialize_model(LoadRequest())
    assert ToyModel.entered.acquire(timeout=PATIENCE_S)
    return service


def publish(shelf, name, offset, *, overwrite=False, **metadata):
    model = ToyModel()
    model.offset = offset
    with shelf.new_draft() as draft:
        model.save_model(draft)
        described = ModelMetadata(model_id="toy", version=name, **metadata)
        return shelf.publish(draft, described, overwrite=overwrite)


def series(last=5.0):
    return Series(np.array([[1.0, last]]))


def offset_of(service, name):
    """Ask a version, and tell its offset by its answer."""
    choice = service.choose(Wanted(version=name))
    lease = service.lease(choice.version)
    try:
        future = lease.ready.result(PATIENCE_S).run([series()], TASK, timeout_s=PATIENCE_S)
        return future.result(PATIENCE_S).results[0].mean[0, 0] - 5.0
    finally:
        lease.release()


def active_offset(service):
    future = service.run_inference([series()], TASK, timeout_s=PATIENCE_S)
    return future.result(PATIENCE_S).results[0].mean[0, 0] - 5.0


def lease_of(service, name):
    return service.lease(service.choose(Wanted(version=name)).version)


def test_the_least_recently_used_makes_room(service):
    assert [offset_of(service, name) for name in NAMES[:2]] == [1.0, 2.0]
    assert offset_of(service, "v1.0") == 1.0
    assert service.loaded_versions == ["v2.0", "v1.0"]
    assert offset_of(service, "v3.0") == 3.0
    assert service.loaded_versions == ["v1.0", "v3.0"]
    assert [model.offset for model in ToyModel.closed] == [2.0]
    assert active_offset(service) == 0.0


def test_bytes_bound_them_too_and_one_is_loaded_however_large(serve):
    service = serve(versions_bytes=1)
    service.initialize_model(LoadRequest())
    assert [offset_of(service, name) for name in NAMES] == [1.0, 2.0, 3.0]
    assert service.loaded_versions == ["v3.0"]


def test_a_version_in_use_stays_and_the_next_waits_for_it(serve):
    service = serve(versions_loaded=1)
    service.initialize_model(LoadRequest())
    first = lease_of(service, "v1.0")
    loaded = first.ready.result(PATIENCE_S)
    second = lease_of(service, "v2.0")
    with ThreadPoolExecutor(1) as caller:
        waiting = caller.submit(second.ready.result, PATIENCE_S)
        for _ in range(50):
            future = loaded.run([series()], TASK, timeout_s=PATIENCE_S)
            assert future.result(PATIENCE_S).results[0].mean[0, 0] == 6.0
        assert service.loaded_versions == ["v1.0"]
        assert not waiting.done()
        first.release()
        assert waiting.result(PATIENCE_S).model.offset == 2.0
    second.release()
    second.release()
    assert service.loaded_versions == ["v2.0"]


def test_who_waits_for_one_version_holds_up_nobody_else(service):
    assert offset_of(service, "v1.0") == 1.0
    assert ToyModel.entered.acquire(timeout=PATIENCE_S)
    ToyModel.loading.clear()
    slow = lease_of(service, "v2.0")
    assert ToyModel.entered.acquire(timeout=PATIENCE_S)
    assert offset_of(service, "v1.0") == 1.0
    assert active_offset(service) == 0.0
    assert not slow.ready.done()
    ToyModel.loading.set()
    assert slow.ready.result(PATIENCE_S).model.offset == 2.0
    slow.release()


def test_a_version_that_nobody_waits_for_any_more_is_not_loaded(service):
    ToyModel.loading.clear()
    slow = lease_of(service, "v1.0")
    assert ToyModel.entered.acquire(timeout=PATIENCE_S)
    given_up = lease_of(service, "v2.0")
    given_up.release()
    ToyModel.loading.set()
    with pytest.raises(Draining):
        given_up.ready.result(PATIENCE_S)
    slow.release()
    assert not ToyModel.entered.acquire(blocking=False)
    assert offset_of(service, "v2.0") == 2.0


def test_what_was_overwritten_is_loaded_anew(service, shelf):
    assert offset_of(service, "v1.0") == 1.0
    publish(shelf, "v1.0", 7.0, overwrite=True)
    assert offset_of(service, "v1.0") == 7.0


def test_a_failed_load_is_told_and_tried_again(service, shelf):
    version = service.choose(Wanted(version="v1.0")).version
    file = version.path / "weights" / "model.safetensors"
    good = file.read_bytes()
    file.write_bytes(b"torn")
    with pytest.raises(VersionDamaged, match=r"weights/model\.safetensors"):
        service.choose(Wanted(version="v1.0"))
    late = service.lease(version)  # damaged after it was verified
    with pytest.raises(BadData):
        late.ready.result(PATIENCE_S)
    late.release()
    file.write_bytes(good)
    assert offset_of(service, "v1.0") == 1.0


def test_retention_leaves_what_is_loaded(service, shelf):
    assert offset_of(service, "v1.0") == 1.0
    assert shelf.retain() == ["v2.0"]
    assert offset_of(service, "v1.0") == 1.0
    service.shutdown_model()
    assert shelf.retain() == ["v1.0"]


def test_a_version_removed_meanwhile_is_not_found(service, shelf):
    version = service.choose(Wanted(version="v1.0")).version
    assert "v1.0" in shelf.retain()
    late = service.lease(version)
    with pytest.raises(VersionNotFound):
        late.ready.result(PATIENCE_S)
    late.release()


def test_a_caller_waits_for_a_version_no_longer_than_it_said(service):
    body = {
        "inputs": [{"target": [1, 5]}],
        "parameters": {"horizon": 1, "version": "v1.0", "timeout_s": 0.2},
    }
    call = Call(Operation.INFERENCE, json.dumps(body).encode())
    host = InlineHost(service, RequestReader(DataPolicy()))
    ToyModel.loading.clear()
    with pytest.raises(DeadlinePassed):
        asyncio.run(host.call(call))
    ToyModel.loading.set()
    assert offset_of(service, "v1.0") == 1.0


def test_shutdown_answers_what_waits_and_unloads_all(service):
    lease = lease_of(service, "v1.0")
    loaded = lease.ready.result(PATIENCE_S)
    future = loaded.run([series()], TASK, timeout_s=PATIENCE_S)
    service.shutdown_model()
    assert future.result(PATIENCE_S).results[0].mean[0, 0] == 6.0
    lease.release()
    assert service.loaded_versions == []
    assert len(ToyModel.closed) == 2
    with pytest.raises(ModelNotReady):
        service.choose(Wanted(version="v1.0"))
    with pytest.raises(Draining):
        service.lease(loaded.weights.version)
    service.initialize_model(LoadRequest())
    assert offset_of(service, "v1.0") == 1.0


def test_other_options_of_the_active_weights_count_for_versions_too(service):
    assert offset_of(service, "v1.0") == 1.0
    service.initialize_model(LoadRequest(config={"batch_size": 2}))
    lease = lease_of(service, "v1.0")
    assert lease.ready.result(PATIENCE_S).model.config.batch_size == 2
    lease.release()


def test_many_callers_each_get_the_version_they_asked_for(serve):
    service = serve(versions_loaded=1)
    service.initialize_model(LoadRequest())
    asked = random.Random(0).choices(NAMES, k=examples(400))
    with ThreadPoolExecutor(8) as callers:
        found = list(callers.map(lambda name: offset_of(service, name), asked))
    assert found == [float(name[1]) for name in asked]
    assert len(service.loaded_versions) == 1


def test_current_is_what_loads_by_default_and_again_once_it_has_moved(serve, shelf):
    service = serve()
    shelf.aliases.set("current", "v2.0", who="a test")
    first = service.initialize_model(LoadRequest())
    assert (first.state, first.version, first.source) == (ModelState.READY, "v2.0", "store:v2.0")
    assert active_offset(service) == 2.0
    assert service.initialize_model(LoadRequest("store:current")).loaded_at == first.loaded_at
    shelf.aliases.set("current", "v3.0", who="a test")
    assert service.initialize_model(LoadRequest("store:current")).version == "v3.0"
    assert active_offset(service) == 3.0
    shelf.aliases.rollback("current", who="a test")
    assert service.initialize_model(LoadRequest("store:current")).version == "v2.0"
    publish(shelf, "v2.0", 9.0, overwrite=True)
    service.initialize_model(LoadRequest("store:current"))
    assert active_offset(service) == 9.0


def test_the_active_version_is_not_loaded_twice(serve, shelf):
    service = serve()
    service.initialize_model(LoadRequest("store:v2.0"))
    assert service.choose(Wanted(version="v2.0")).version is None
    publish(shelf, "v2.0", 9.0, overwrite=True)
    assert offset_of(service, "v2.0") == 9.0


def test_without_a_current_version_the_weights_of_the_spec_load(serve, tmp_path):
    write_offset(tmp_path / "default", 4.0)
    service = serve()
    assert service.initialize_model(LoadRequest()).source == "local:default"
    assert active_offset(service) == 4.0


def test_a_model_that_has_to_be_trained_says_so_where_there_is_none(serve):
    able = replace(spec_of().capabilities, zero_shot=False, trainable=True)
    service = serve(spec=spec_of(weights=None, capabilities=able))
    with pytest.raises(InvalidRequest, match="trained first"):
        service.initialize_model(LoadRequest())
    assert service.get_status().state is ModelState.UNINITIALIZED
    with pytest.raises(VersionNotFound, match=r"v3\.0"):
        service.initialize_model(LoadRequest("store:v9.9"))


def test_a_service_follows_what_current_means_unless_a_version_was_named(shelf, serve):
    shelf.aliases.set("current", NAMES[0], who="a test", why="the first")
    follows, stays, empty = serve(), serve(), serve()
    follows.initialize_model(LoadRequest())
    stays.initialize_model(LoadRequest(source=f"store:{NAMES[0]}"))
    shelf.aliases.set("current", NAMES[1], who="a test", why="it is better")
    for service in (follows, stays, empty):
        service.follow_current()
    assert follows.get_status().version == NAMES[1]
    assert stays.get_status().version == NAMES[0]
    assert empty.get_status().state is ModelState.UNINITIALIZED
    loaded_at = follows.get_status().loaded_at
    follows.follow_current()
    assert follows.get_status().loaded_at == loaded_at


def test_a_host_loads_what_becomes_current_by_itself(shelf, serve):
    shelf.aliases.set("current", NAMES[0], who="a test", why="the first")
    service = serve()

    async def promoted() -> str | None:
        host = InlineHost(service, RequestReader(DataPolicy()))
        await host.start()
        await host.call(Call(Operation.INITIALIZATION, b"{}"))
        shelf.aliases.set("current", NAMES[2], who="a test", why="a job promoted it")
        async with asyncio.timeout(PATIENCE_S):
            while service.get_status().version == NAMES[0]:
                await asyncio.sleep(0.05)
        version = service.get_status().version
        await host.close()
        return version

    assert asyncio.run(promoted()) == NAMES[2]
