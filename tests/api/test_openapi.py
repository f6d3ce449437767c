"""The document describes every route whole: bodies, answers, errors, keys, examples."""

import json

import pytest

from forecast.api import examples, training_examples
from forecast.api.alias_requests import read_alias
from forecast.api.alias_routes import Versions
from forecast.api.app import create_app
from forecast.api.options import ApiOptions
from forecast.api.security import PUBLIC_PATHS
from forecast.models import MODEL_REGISTRY
from forecast.store.config import StoreConfig
from forecast.store.versions import ModelStore
from tests.api.serving import ScriptedHost, replying, status_answer
from tests.api.training_parts import training_in


def host_of(spec) -> ScriptedHost:
    host = replying(spec.model_id, status_answer("ready"))
    host.spec = spec
    return host


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    hosts = {model_id: host_of(spec) for model_id, spec in MODEL_REGISTRY.items()}
    options = ApiOptions(version="1.2.3", aliases={"default": "chronos"})
    home = tmp_path_factory.mktemp("home")
    versions = Versions(ModelStore(StoreConfig(root=home / "models")))
    app = create_app(hosts, options, training=training_in(home), versions=versions)
    return json.loads(json.dumps(app.openapi()))


@pytest.fixture(scope="module")
def operations(document):
    return {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def references(node: object) -> set[str]:
    if isinstance(node, list):
        return {found for entry in node for found in references(entry)}
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own | {found for entry in node.values() for found in references(entry)}
    return set()


def test_every_reference_leads_somewhere(document):
    names = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= names


def test_operation_ids_are_unique_and_every_operation_says_what_it_does(operations):
    ids = [operation["operationId"] for operation in operations.values()]
    assert len(set(ids)) == len(ids)
    assert all(operation["description"] for operation in operations.values())
    assert all(operation["tags"] for operation in operations.values())


@pytest.mark.parametrize("model_id", MODEL_REGISTRY)
def test_every_model_has_every_route(operations, model_id):
    prefix = f"/forecast/v1/{model_id}"
    assert {key for key in operations if f"{key[1]}/".startswith(f"{prefix}/")} == {
        ("get", prefix),
        ("get", f"{prefix}/status"),
        ("post", f"{prefix}/initialization"),
        ("post", f"{prefix}/inference"),
        ("post", f"{prefix}/shutdown"),
        ("post", f"{prefix}/training"),
        ("post", f"{prefix}/backtest"),
        ("get", f"{prefix}/versions"),
        ("get", f"{prefix}/versions/{{name}}"),
        ("get", f"{prefix}/snapshots"),
        ("get", f"{prefix}/aliases"),
        ("get", f"{prefix}/aliases/{{alias}}"),
        ("put", f"{prefix}/aliases/{{alias}}"),
        ("delete", f"{prefix}/aliases/{{alias}}"),
        ("get", f"{prefix}/aliases/{{alias}}/history"),
    }


def test_what_is_not_public_names_both_ways_to_send_a_key(document, operations):
    schemes = set(document["components"]["securitySchemes"])
    for (_, path), operation in operations.items():
        named = {name for entry in operation.get("security", []) for name in entry}
        assert named == (set() if path in PUBLIC_PATHS else schemes)
        assert ("401" in operation["responses"]) == (path not in PUBLIC_PATHS)


def test_every_error_is_a_problem(operations):
    for operation in operations.values():
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                (media_type,) = response["content"]
                assert media_type == "application/problem+json"


def test_every_body_has_an_example(operations):
    bodies = {
        path: operation["requestBody"]["content"]
        for (_, path), operation in operations.items()
        if "requestBody" in operation
    }
    learning = [
        spec
        for spec in MODEL_REGISTRY.values()
        if spec.capabilities.trainable or spec.capabilities.fine_tunable
    ]
    across = ["/forecast/v1/forecast", "/forecast/v1/datasets/{name}"]
    assert len(bodies) == 5 * len(MODEL_REGISTRY) + len(learning) + len(across)
    assert all(body["application/json"]["examples"] for body in bodies.values())
    shown = bodies["/forecast/v1/lstm/training"]["application/json"]["examples"]
    assert set(shown) == set(training_examples.TRAININGS)
    for model_id in MODEL_REGISTRY:
        body = bodies[f"/forecast/v1/{model_id}/inference"]
        assert set(body["application/json"]["examples"]) == set(examples.BODIES)
        assert "multipart/form-data" in body


def test_the_example_of_each_change_of_an_alias_is_valid():
    for example in examples.ALIASES.values():
        read_alias(json.dumps(example["value"]).encode(), "application/json")


@pytest.mark.parametrize("model_id", MODEL_REGISTRY)
def test_a_model_shows_its_own_options(document, model_id):
    schemas = document["components"]["schemas"]
    spec = MODEL_REGISTRY[model_id]
    options = schemas[f"{model_id}_Parameters"]["properties"]["model_options"]
    assert options["$ref"].endswith(f"/{spec.options.__name__}")
    config = schemas[f"{model_id}_InitializationRequest"]["properties"]["options"]
    assert config["$ref"].endswith(f"/{spec.config.__name__}")
    for shape in ("InlineTraining", "TableTraining", "DatasetBacktest", "TrainingFields"):
        sent = schemas[f"{model_id}_{shape}"]["properties"]["config"]
        assert sent["$ref"].endswith(f"/{spec.config.__name__}")
    for shape in ("ForecastRequest", "TableRequest", "UploadForm"):
        parameters = schemas[f"{model_id}_{shape}"]["properties"]["parameters"]
        assert parameters["$ref"].endswith(f"/{model_id}_Parameters")


def test_the_route_across_models_names_ids_and_aliases(document):
    schema = document["components"]["schemas"]["any_ForecastRequest"]
    assert schema["properties"]["model"]["enum"] == [*MODEL_REGISTRY, "default"]
    assert set(schema["required"]) == {"inputs", "model"}
