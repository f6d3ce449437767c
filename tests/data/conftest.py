"""A reader, a spec with options of its own, and short ways to ask."""

from collections.abc import Callable
from typing import Any, Literal

import orjson
import pytest
from pydantic import Field

from forecast.data.policy import DataPolicy
from forecast.data.requests import InferenceRequest, RequestReader
from forecast.models.base.config import ModelOptions
from forecast.models.spec import Capabilities, License, ModelSpec

Read = Callable[..., InferenceRequest]


class SpecOptions(ModelOptions):
    season_length: int | None = Field(None, ge=1)


def make_spec(quantiles: Literal["native", "none"] = "native") -> ModelSpec:
    return ModelSpec(
        model_id="example",
        name="Example",
        version="1.0",
        description="A spec to read requests for",
        default_port=8100,
        model="nowhere:Nothing",
        weights=None,
        capabilities=Capabilities(quantiles=quantiles),
        license=License("Apache-2.0", True, "https://example.org"),
        extra="none",
        options=SpecOptions,
    )


@pytest.fixture
def spec() -> ModelSpec:
    return make_spec()


@pytest.fixture
def point_spec() -> ModelSpec:
    return make_spec("none")


@pytest.fixture
def policy() -> DataPolicy:
    return DataPolicy()


@pytest.fixture
def reader(policy: DataPolicy) -> RequestReader:
    return RequestReader(policy)


@pytest.fixture
def read(reader: RequestReader, spec: ModelSpec) -> Read:
    """Read a JSON document."""

    def _read(document: Any, *, default_horizon: int | None = None) -> InferenceRequest:
        return reader.read(
            orjson.dumps(document), "application/json", spec, default_horizon=default_horizon
        )

    return _read


@pytest.fixture
def read_one(read: Read) -> Read:
    """Read a native request of one series, horizon 2 unless told."""

    def _read(_parameters: dict[str, Any] | None = None, **series: Any) -> InferenceRequest:
        return read(
            {
                "inputs": [{"target": [1, 2, 3, 4]} | series],
                "parameters": _parameters or {"horizon": 2},
            }
        )

    return _read
