"""One inference call in this process: read, choose the weights, queue, forecast, encode."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from forecast.core.errors import DeadlinePassed
from forecast.core.types import Forecast
from forecast.data.answers import JSON, ModelFacts, Timing, encode
from forecast.data.as_of import shown
from forecast.data.requests import InferenceRequest, RequestReader
from forecast.models.spec import ModelSpec
from forecast.serving.batching import Outcome
from forecast.serving.hosts import Answer, Call
from forecast.serving.loaded import LoadedModel
from forecast.serving.service import ModelService

Result = TypeVar("Result")

_SMALL_ANSWER = 4096  # points that are encoded faster than a thread is woken


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that was read.

    Attributes:
        until: when whoever asked stops waiting, on the monotonic clock.
        is_quick: so small that checking it blocks nothing.
    """

    request: InferenceRequest
    until: float
    is_quick: bool
    accept: str

    @property
    def left_s(self) -> float:
        return max(0.0, self.until - time.monotonic())

    async def within(self, work: Awaitable[Result]) -> Result:
        """Wait for a part of the answer; whoever stops waiting gives up the request."""
        try:
            return await asyncio.wait_for(work, self.left_s)
        except TimeoutError as error:
            raise DeadlinePassed(
                f"no forecast within timeout_s = {self.request.timeout_s:g};"
                " ask for less or wait longer"
            ) from error


class Inference:
    """Answers inference calls with the weights of one service.

    What is small is read on the event loop; files, URLs, large bodies and the store in threads.
    """

    def __init__(
        self, service: ModelService, reader: RequestReader, threads: ThreadPoolExecutor
    ) -> None:
        self._service = service
        self._reader = reader
        self._threads = threads

    async def answer(self, call: Call) -> Answer:
        """Answer one call.

        Raises:
            ForecastError: what the caller is to be told.
        """
        asked = await self._asked(call)
        wanted = asked.request.wanted
        if wanted.is_plain:
            return await self._forecast(asked, self._service.active())
        choice = await asked.within(self._in_thread(self._service.choose, wanted))
        warnings = (*asked.request.warnings, *choice.warnings)
        asked = replace(asked, request=replace(asked.request, warnings=warnings))
        if choice.version is None:
            return await self._forecast(asked, self._service.active())
        lease = self._service.lease(choice.version)
        try:
            loaded = await asked.within(asyncio.wrap_future(lease.ready))
            return await self._forecast(asked, loaded)
        finally:
            lease.release()

    async def _asked(self, call: Call) -> _Asked:
        is_quick = self._reader.is_quick(call.body, call.content_type)
        request = self._read(call) if is_quick else await self._in_thread(self._read, call)
        return _Asked(request, time.monotonic() + request.timeout_s, is_quick, call.accept)

    def _read(self, call: Call) -> InferenceRequest:
        return self._reader.read(
            call.body,
            call.content_type,
            self._service.spec,
            default_horizon=self._service.default_horizon,
        )

    async def _forecast(self, asked: _Asked, loaded: LoadedModel) -> Answer:
        """Forecast with a loaded model, and say which it was."""
        if asked.is_quick:
            future = _queued(asked, loaded)
        else:
            future = await self._in_thread(_queued, asked, loaded)
        outcome = await asked.within(asyncio.wrap_future(future))
        if len(outcome.results) * asked.request.task.horizon <= _SMALL_ANSWER:
            return _encoded(asked, outcome, loaded)
        return await self._in_thread(_encoded, asked, outcome, loaded)

    async def _in_thread(self, function: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _queued(asked: _Asked, loaded: LoadedModel) -> "Future[Outcome[Forecast]]":
    request = asked.request
    return loaded.run(request.series, request.task, timeout_s=asked.left_s)


def _encoded(asked: _Asked, outcome: Outcome[Forecast], loaded: LoadedModel) -> Answer:
    timing = Timing(outcome.queue_s * 1000, outcome.predict_s * 1000, outcome.batch_size)
    facts = facts_of(loaded)
    body, media_type = encode(asked.request, outcome.results, facts, timing, asked.accept)
    return Answer(200, body, media_type, {} if media_type == JSON else _headers(facts))


def facts_of(loaded: LoadedModel) -> ModelFacts:
    """Say which weights these are; of those from outside the store, the family's version."""
    spec: ModelSpec = loaded.model.spec
    cutoff = loaded.cutoff
    return ModelFacts(
        id=spec.model_id,
        version=loaded.version or spec.version,
        source=loaded.weights.source,
        cutoff=None if cutoff is None else shown(cutoff),
        sha256=loaded.weights.sha256,
        device=loaded.model.device,
    )


def _headers(facts: ModelFacts) -> dict[str, str]:
    """Say beside a table, which has no room for it, which weights answered."""
    told = {
        "X-Forecast-Version": facts.version,
        "X-Forecast-Cutoff": facts.cutoff,
        "X-Forecast-SHA256": facts.sha256,
    }
    return {name: value for name, value in told.items() if value is not None}
