"""The document describes every route whole: bodies, answers, errors, keys, examples."""

import json

import pytest

from forecast.api import examples
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

VERBS = {
    "backtest",
    "cancel",
    "change",
    "check",
    "delete",
    "follow",
    "forecast",
    "get",
    "list",
    "load",
    "put",
    "remove",
    "retry",
    "train",
    "unload",
}


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


def test_an_operation_is_named_by_a_verb(operations):
    for operation in operations.values():
        verb, *_ = operation["summary"].lower().split()
        assert verb in VERBS
        assert operation["operationId"] == operation["summary"].lower().replace(" ", "_")


def test_tags_come_in_the_order_of_tasks(document, operations):
    tags = [tag["name"] for tag in document["tags"]]
    assert tags[:4] == ["forecast", "datasets", "training", "jobs"]
    assert {name for operation in operations.values() for name in operation["tags"]} == set(tags)
    assert all(len(operation["tags"]) == 1 for operation in operations.values())


def test_every_model_has_every_route_and_each_is_described_once(operations):
    prefix = "/forecast/v1/{model_id}"
    shared = {key: operation for key, operation in operations.items() if "{model_id}" in key[1]}
    short = shared.pop(("post", "/train/{model_id}"))
    assert set(shared) == {
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
    assert all(models_of(operation) == list(MODEL_REGISTRY) for operation in shared.values())
    learning = [
        model_id
        for model_id, spec in MODEL_REGISTRY.items()
        if spec.capabilities.trainable or spec.capabilities.fine_tunable
    ]
    assert models_of(short) == learning


def models_of(operation) -> list[str]:
    (parameter,) = (one for one in operation["parameters"] if one["name"] == "model_id")
    assert (parameter["in"], parameter["required"]) == ("path", True)
    return parameter["schema"]["enum"]


def test_the_document_stays_small_however_many_models_there_are(document, operations):
    assert len(operations) < 60
    assert len(json.dumps(document, separators=(",", ":"))) < 300_000


def test_the_events_of_a_job_have_a_schema(document, operations):
    stream = operations["get", "/forecast/v1/jobs/{job_id}/events"]["responses"]["200"]["content"]
    events = stream["text/event-stream"]["schema"]["contentSchema"]["items"]
    assert events["$ref"].endswith("/JobEventDocument")
    kinds = document["components"]["schemas"]["JobEventDocument"]["discriminator"]["mapping"]
    assert set(kinds) == {"progress", "log", "state", "done"}


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
    assert len(bodies) == 8
    assert all(body["application/json"]["examples"] for body in bodies.values())
    shown = bodies["/forecast/v1/{model_id}/training"]["application/json"]["examples"]
    assert set(shown) == set(examples.TRAININGS)
    inference = bodies["/forecast/v1/{model_id}/inference"]
    assert set(inference["application/json"]["examples"]) == set(examples.FORECASTS)
    assert "multipart/form-data" in inference


def test_the_example_of_each_change_of_an_alias_is_valid():
    for example in examples.ALIASES.values():
        read_alias(json.dumps(example["value"]).encode(), "application/json")


@pytest.mark.parametrize("model_id", MODEL_REGISTRY)
def test_a_model_shows_its_own_options(document, model_id):
    schemas = document["components"]["schemas"]
    spec = MODEL_REGISTRY[model_id]
    own = document["x-models"][model_id]
    for reference, shape, name in (
        (own["options"], spec.options, "AnyModelOptions"),
        (own["config"], spec.config, "AnyModelConfig"),
    ):
        assert reference in schemas[name]["anyOf"]
        described = schemas[reference["$ref"].rpartition("/")[2]]
        assert set(described["properties"]) == set(shape.model_json_schema()["properties"])


@pytest.mark.parametrize(
    ("shape", "field", "name"),
    [
        ("Parameters", "model_options", "AnyModelOptions"),
        ("NamedFileParameters", "model_options", "AnyModelOptions"),
        ("InitializationRequest", "options", "AnyModelConfig"),
        ("TrainingRequest", "config", "AnyModelConfig"),
        ("BacktestRequest", "config", "AnyModelConfig"),
        ("TrainingPlan", "config", "AnyModelConfig"),
        ("BacktestPlan", "config", "AnyModelConfig"),
    ],
)
def test_a_body_takes_the_options_of_any_model(document, shape, field, name):
    described = document["components"]["schemas"][shape]["properties"][field]
    assert described["$ref"].endswith(f"/{name}")
    assert described["description"]


def test_the_route_across_models_names_ids_and_aliases(document):
    schema = document["components"]["schemas"]["RoutedForecastRequest"]
    assert schema["properties"]["model"]["enum"] == [*MODEL_REGISTRY, "default"]
    assert set(schema["required"]) == {"inputs", "model"}
