"""What only the operator sets of a model: no caller may, and it reaches the model all the same."""

import pytest

from forecast.core.errors import InvalidRequest
from forecast.models import MODEL_REGISTRY
from forecast.serving.initialization import InitializationRequest


@pytest.mark.parametrize("name", ["api_key", "base_url"])
def test_a_caller_cannot_set_them(name):
    asked = InitializationRequest(options={name: "http://127.0.0.1:1/"})
    with pytest.raises(InvalidRequest, match="only the operator") as refused:
        asked.config_for(MODEL_REGISTRY["timegpt"])
    assert refused.value.errors[0].pointer == f"/options/{name}"
