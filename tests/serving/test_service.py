"""The life of a model, with a real source of weights on disk and real threads."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from forecast.core.errors import (
    BadData,
    FileMissing,
    InvalidRequest,
    LicenseNotAccepted,
    MissingLibrary,
    ModelBusy,
    ModelNotReady,
)
from forecast.core.types import ForecastTask, Series
from forecast.models.spec import License
from forecast.serving.service import LoadRequest, ModelService, ModelState
from forecast.store.hub_settings import HubSettings
from forecast.store.sources import SourceResolver
from tests.serving.toy_model import POISON, ToyModel, spec_of, write_offset

PATIENCE_S = 60.0
TASK = ForecastTask(horizon=3, quantile_levels=(0.1, 0.9))
ONE = LoadRequest("local:one")
TWO = LoadRequest("local:two")


@pytest.fixture
def sources(tmp_path):
    for name, offset in (("one", 1.0), ("two", 2.0), ("broken", 3.0)):
        write_offset(tmp_path / "roots" / name, offset)
    (tmp_path / "roots" / "broken" / "model.safetensors").write_bytes(b"torn")
    return SourceResolver(
        local_roots=[tmp_path / "roots"],
        cache=tmp_path / "cache",
        hub=HubSettings(),
        mlflow_tracking_uri=None,
    )


@pytest.fixture
def service(sources):
    ToyModel.loading.set()
    ToyModel.closed.clear()
    made = ModelService(spec_of(), sources)
    yield made
    ToyModel.loading.set()
    made.shutdown_model()


def series(last: float = 5.0) -> Series:
    return Series(np.array([[1.0, last]]))


def predict(service: ModelService, last: float = 5.0) -> float:
    future = service.run_inference([series(last)], TASK, timeout_s=PATIENCE_S)
    return future.result(PATIENCE_S).results[0].mean[0, 0]


def start_loading(service: ModelService, request: LoadRequest) -> threading.Thread:
    """Begin a load that stands still until `ToyModel.loading` is set."""
    ToyModel.loading.clear()
    while ToyModel.entered.acquire(blocking=False):
        pass
    thread = threading.Thread(target=service.begin_initialization(request))
    thread.start()
    assert ToyModel.entered.acquire(timeout=PATIENCE_S)
    return thread


def test_it_goes_from_uninitialized_to_ready_and_back(service):
    assert service.get_status().state is ModelState.UNINITIALIZED
    with pytest.raises(ModelNotReady, match="POST /forecast/v1/toy/initialization"):
        predict(service)
    status = service.initialize_model(ONE)
    assert (status.state, status.device) == (ModelState.READY, "cpu")
    assert status.source.startswith("local:one")
    assert predict(service) == 6.0
    assert service.shutdown_model().state is ModelState.UNINITIALIZED
    assert len(ToyModel.closed) == 1
    with pytest.raises(ModelNotReady):
        predict(service)


def test_while_it_loads_the_status_says_so_and_a_second_load_is_refused(service):
    thread = start_loading(service, ONE)
    assert service.get_status().state is ModelState.INITIALIZING
    with pytest.raises(ModelBusy):
        service.initialize_model(TWO)
    with pytest.raises(ModelBusy):
        service.shutdown_model()
    ToyModel.loading.set()
    thread.join(PATIENCE_S)
    assert service.get_status().state is ModelState.READY
    assert predict(service) == 6.0


def test_the_same_weights_are_not_loaded_twice(service):
    loaded_at = service.initialize_model(ONE).loaded_at
    assert service.initialize_model(ONE).loaded_at == loaded_at


def test_other_weights_replace_the_loaded_ones(service):
    service.initialize_model(ONE)
    assert service.initialize_model(TWO).source.startswith("local:two")
    assert predict(service) == 7.0
    assert len(ToyModel.closed) == 1


def test_the_loaded_weights_answer_until_others_are_ready(service):
    service.initialize_model(ONE)
    thread = start_loading(service, TWO)
    assert service.get_status().state is ModelState.INITIALIZING
    assert predict(service) == 6.0
    ToyModel.loading.set()
    thread.join(PATIENCE_S)
    assert predict(service) == 7.0


def test_other_options_load_again(service):
    service.initialize_model(ONE)
    service.initialize_model(replace(ONE, config={"batch_size": 2}))
    assert service.get_model_config()["batch_size"] == 2


def test_a_failed_load_keeps_its_reason(service):
    with pytest.raises(FileMissing):
        service.initialize_model(LoadRequest("local:nowhere"))
    status = service.get_status()
    assert status.state is ModelState.ERROR
    with pytest.raises(ModelNotReady, match="error"):
        predict(service)
    assert service.initialize_model(ONE).state is ModelState.READY


def test_a_failed_load_leaves_the_loaded_weights_in_service(service):
    service.initialize_model(ONE)
    with pytest.raises(BadData):
        service.initialize_model(LoadRequest("local:broken"))
    assert service.get_status().state is ModelState.READY
    assert "cannot be read" in service.get_status().details
    assert predict(service) == 6.0


def test_a_bad_series_is_refused_before_it_is_queued(service):
    service.initialize_model(ONE)
    with pytest.raises(InvalidRequest, match="100"):
        service.run_inference([series()], replace(TASK, horizon=101), timeout_s=PATIENCE_S)
    with pytest.raises(BadData):
        service.run_inference([series(np.inf)], TASK, timeout_s=PATIENCE_S)


def test_a_series_that_breaks_the_model_fails_alone(service):
    service.initialize_model(ONE)
    with pytest.raises(RuntimeError):
        predict(service, POISON)
    assert predict(service) == 6.0


def test_weights_that_forbid_commercial_use_want_to_be_accepted(sources, caplog):
    ToyModel.loading.set()
    caplog.set_level("INFO")
    spec = spec_of(license=License("CC-BY-NC-4.0", False, "https://example.org/nc"))
    service = ModelService(spec, sources)
    with pytest.raises(LicenseNotAccepted, match="CC-BY-NC-4.0"):
        service.initialize_model(ONE)
    assert service.initialize_model(replace(ONE, accept_license=True)).state is ModelState.READY
    service.shutdown_model()
    assert "the request accepted the license CC-BY-NC-4.0 of toy" in caplog.text
    trusting = ModelService(spec, sources, accept_license=True)
    assert trusting.initialize_model(ONE).state is ModelState.READY
    assert "the setting accepted the license" in caplog.text
    trusting.shutdown_model()


def test_a_missing_library_is_told_before_weights_are_looked_for(sources, tmp_path, monkeypatch):
    (tmp_path / "without_library.py").write_text("import a_library_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    spec = replace(spec_of(), model="without_library:Model", extra="more")
    service = ModelService(spec, sources)
    with pytest.raises(MissingLibrary, match=r"pip install 'forecast-gateway\[more\]'"):
        service.initialize_model(LoadRequest("local:there-is-none"))
