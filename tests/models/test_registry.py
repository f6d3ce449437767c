import json
import subprocess
import sys

import pytest

from forecast.core.errors import MissingLibrary
from forecast.models import (
    MODEL_REGISTRY,
    get_all_models_info,
    get_available_models,
    get_model_info,
)
from forecast.models.spec import Capabilities, License, ModelSpec

FIELDS = {
    "name", "version", "description", "module", "router_path", "service_path", "default_port",
    "status", "capabilities", "license", "sources", "documentation",
}  # fmt: skip


def test_every_entry_shows_the_fields_of_the_contract_as_json():
    for model_id, info in get_all_models_info().items():
        assert set(info) == FIELDS, model_id
        assert json.loads(json.dumps(info)) == json.loads(json.dumps(get_model_info(model_id)))


def test_ports_are_distinct_and_ids_are_the_folders():
    ports = [spec.default_port for spec in MODEL_REGISTRY.values()]
    assert len(set(ports)) == len(ports)
    for model_id, spec in MODEL_REGISTRY.items():
        assert spec.model.startswith(f"forecast.models.{model_id}.")


def test_an_unknown_model_is_a_key_error():
    with pytest.raises(KeyError):
        get_model_info("nonesuch")


def test_active_models_are_available():
    assert "statistical" in get_available_models()


def test_older_code_may_read_an_entry_by_key():
    assert MODEL_REGISTRY["chronos"]["default_port"] == MODEL_REGISTRY["chronos"].default_port


def test_importing_the_registry_imports_no_model_library():
    libraries = ("torch", "transformers", "statsforecast", "prophet", "chronos", "timesfm")
    code = f"import sys, forecast.models; print([m for m in {libraries!r} if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_a_missing_library_is_told_with_the_command_that_brings_it(tmp_path, monkeypatch):
    (tmp_path / "wants_more.py").write_text("import a_library_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    spec = ModelSpec(
        model_id="wants_more",
        name="Wants more",
        version="1",
        description="",
        default_port=1,
        model="wants_more:Model",
        weights=None,
        capabilities=Capabilities(),
        license=License("MIT", True, "https://example.org"),
        extra="more",
    )
    with pytest.raises(MissingLibrary, match=r"a_library_nobody_has.*forecast-gateway\[more\]"):
        spec.model_class()
