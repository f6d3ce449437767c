"""Weights that forbid commercial use are loaded only by who accepts that."""

import pytest

from forecast.core.errors import LicenseNotAccepted
from forecast.models import MODEL_REGISTRY
from forecast.serving.service import LoadRequest, ModelService, ModelState
from forecast.store.hub_settings import HubSettings
from forecast.store.sources import SourceResolver
from tests.api.serving import client_of, replying, status_answer

RESTRICTED = [spec for spec in MODEL_REGISTRY.values() if not spec.license.commercial_use]


def test_moirai_is_one_of_them():
    assert "moirai" in {spec.model_id for spec in RESTRICTED}


@pytest.mark.parametrize("spec", RESTRICTED, ids=lambda spec: spec.model_id)
def test_loading_without_accepting_is_refused_before_anything_is_fetched(spec, tmp_path):
    sources = SourceResolver(
        local_roots=[tmp_path],
        cache=tmp_path / "cache",
        hub=HubSettings(hf_offline=True),
        mlflow_tracking_uri=None,
    )
    service = ModelService(spec, sources)
    with pytest.raises(LicenseNotAccepted, match=rf"{spec.license.id}.*accept_license"):
        service.initialize_model(LoadRequest(source="local:nowhere"))
    status = service.get_status()
    assert status.state is not ModelState.READY
    assert spec.license.id in status.details
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("spec", RESTRICTED, ids=lambda spec: spec.model_id)
def test_the_registry_shows_the_license(spec):
    host = replying(spec.model_id, status_answer("uninitialized"))
    host.spec = spec
    with client_of({spec.model_id: host}) as client:
        shown = client.get("/models").json()["models"][spec.model_id]["license"]
    assert shown == {
        "id": spec.license.id,
        "commercial_use": False,
        "url": spec.license.url,
    }
