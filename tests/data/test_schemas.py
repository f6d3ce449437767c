"""The models of the wire describe themselves: every field documented, every example works."""

import orjson
import pytest

from forecast.data.inline import ForecastRequest, ForecastResponse
from forecast.data.named_file import NamedFileRequest, NamedFileResponse
from forecast.data.tables import TableRequest, UploadForm

MODELS = [
    ForecastRequest,
    ForecastResponse,
    TableRequest,
    NamedFileRequest,
    NamedFileResponse,
    UploadForm,
]


@pytest.mark.parametrize("model", [ForecastRequest, TableRequest])
def test_the_examples_of_a_request_are_read(read, model):
    for example in model.model_json_schema()["examples"]:
        assert read(example).series


def test_the_example_of_the_named_file_shape_is_valid():
    (example,) = NamedFileRequest.model_json_schema()["examples"]
    NamedFileRequest.model_validate(example)


def test_the_example_of_an_answer_is_valid():
    (example,) = ForecastResponse.model_json_schema()["examples"]
    ForecastResponse.model_validate_json(orjson.dumps(example))


@pytest.mark.parametrize("model", MODELS)
def test_no_object_of_a_schema_takes_unknown_fields(model):
    schema = model.model_json_schema()
    for part in [schema, *schema.get("$defs", {}).values()]:
        if part.get("type") == "object":
            assert part["additionalProperties"] is False, part["title"]


@pytest.mark.parametrize("model", [ForecastRequest, TableRequest, NamedFileRequest])
def test_what_a_caller_may_send_is_described(model):
    bare = {"parameters", "seed"}
    schema = model.model_json_schema()
    for part in [schema, *schema.get("$defs", {}).values()]:
        for name, field in part.get("properties", {}).items():
            assert "description" in field or name in bare, name
