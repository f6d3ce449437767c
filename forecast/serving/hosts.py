"""A host answers for one model. Every kind of host has this one interface."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from forecast.models.spec import ModelSpec


class Operation(StrEnum):
    """What can be asked of a host; the value is the last part of its URL."""

    INITIALIZATION = "initialization"
    STATUS = "status"
    INFERENCE = "inference"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a host, its body still bytes: whoever holds the model reads it."""

    operation: Operation
    body: bytes = b""
    content_type: str = "application/json"
    accept: str = "application/json"
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a host says, its body already bytes.

    Attributes:
        status: as in HTTP; a host in another process also answers errors this way.
    """

    status: int
    body: bytes
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


class Host(Protocol):
    """The holder of one model: this process, a child of it, or a machine elsewhere."""

    spec: ModelSpec

    async def start(self) -> None:
        """Begin to serve; a model without weights becomes ready in the background."""

    async def call(self, call: Call) -> Answer:
        """Answer one call.

        Raises:
            ForecastError: what the caller is to be told.
        """

    async def close(self) -> None:
        """Answer what waits, then give everything back."""
