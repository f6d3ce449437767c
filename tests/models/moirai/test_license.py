"""Who accepts the license gets the weights; that it has to be is tested for every model."""

import pytest

pytest.importorskip("uni2ts", reason="its own environment has it: ./setup.sh env moirai")

from forecast.models.moirai.spec import SPEC
from forecast.models.moirai.tiny import write_tiny
from forecast.serving.service import LoadRequest, ModelService, ModelState
from forecast.store.hub_settings import HubSettings
from forecast.store.sources import SourceResolver


@pytest.mark.parametrize("who", ["request", "operator"])
def test_who_accepts_gets_the_weights(who, tmp_path):
    (tmp_path / "weights").mkdir()
    write_tiny(tmp_path / "weights")
    sources = SourceResolver(
        local_roots=[tmp_path],
        cache=tmp_path / "cache",
        hub=HubSettings(hf_offline=True),
        mlflow_tracking_uri=None,
    )
    service = ModelService(SPEC, sources, accept_license=who == "operator")
    request = LoadRequest("local:weights", {"device": "cpu"}, accept_license=who == "request")
    assert service.initialize_model(request).state is ModelState.READY
    service.shutdown_model()
