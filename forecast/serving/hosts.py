"""A host answers for one model. Every kind of host has this one interface."""

import asyncio
import math
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeVar

from forecast.core.errors import DeadlinePassed
from forecast.models.spec import ModelSpec

Result = TypeVar("Result")

# What a gateway tells a host of a call; a gateway never reads these from its own callers.
SECONDS_LEFT = "X-Forecast-Seconds-Left"  # until the deadline
ROUTED = "X-Forecast-Routed"  # there if the body names the model; holds `Call.skipped`


class Operation(StrEnum):
    """What can be asked of a host; the value is the last part of its URL."""

    INITIALIZATION = "initialization"
    STATUS = "status"
    INFERENCE = "inference"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a host. Its body is passed on as bytes; the process with the model reads it.

    Attributes:
        until: the deadline of the whole request, on the clock of `time.monotonic`.
        skipped: `<model_id>;<error code>` of each model that could not answer before, where the
            body names the model; None where the path does.
    """

    operation: Operation
    body: bytes = b""
    content_type: str = "application/json"
    accept: str = "application/json"
    request_id: str = ""
    until: float = math.inf
    skipped: tuple[str, ...] | None = None

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; 0 once it has passed."""
        return max(0.0, self.until - time.monotonic())

    async def within(self, work: Awaitable[Result], delay: str, *, grace_s: float = 0.0) -> Result:
        """Wait for a part of the answer until the deadline, and give that part up then.

        Args:
            delay: what the caller is told that the time was spent on.
            grace_s: how much longer to wait, for another process to keep the same deadline.

        Raises:
            DeadlinePassed: the deadline came first.
        """
        left_s = None if math.isinf(self.until) else self.left_s + grace_s
        try:
            async with asyncio.timeout(left_s) as limit:
                return await work
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeadlinePassed(
                f"timeout_s passed while {delay}; allow more time, or ask for less"
            ) from error


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
        """Answer one call, before its deadline.

        Raises:
            ForecastError: what the caller is to be told.
        """

    async def close(self) -> None:
        """Answer what waits, then give everything back."""
