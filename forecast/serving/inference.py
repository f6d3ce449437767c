"""One inference call in this process: read, choose the weights, queue, forecast, encode."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from forecast.core.times import shown
from forecast.core.types import Forecast
from forecast.data.answers import JSON, ModelFacts, Timing, encode
from forecast.data.requests import InferenceRequest, RequestReader
from forecast.models.spec import ModelSpec
from forecast.serving.batching import Outcome
from forecast.serving.hosts import Answer, Call
from forecast.serving.loaded import LoadedModel
from forecast.serving.service import ModelService

Result = TypeVar("Result")

_SMALL_ANSWER = 4096  # points that are encoded faster than a thread is woken
_URL_GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that was read.

    Attributes:
        call: with the deadline of the request.
        is_quick: so small that checking it blocks nothing.
    """

    request: InferenceRequest
    call: Call
    is_quick: bool


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
            DeadlinePassed: it took longer than its caller waits.
            ForecastError: what the caller is to be told.
        """
        asked = await self._asked(call)
        call, wanted = asked.call, asked.request.wanted
        if wanted.is_plain:
            return await self._forecast(asked, self._service.active())
        choosing = self._in_thread(self._service.choose, wanted)
        choice = await call.within(choosing, "a version was being chosen")
        warnings = (*asked.request.warnings, *choice.warnings)
        asked = replace(asked, request=replace(asked.request, warnings=warnings))
        if choice.version is None:
            return await self._forecast(asked, self._service.active())
        lease = self._service.lease(choice.version)
        try:
            loading = asyncio.wrap_future(lease.ready)
            loaded = await call.within(loading, f"version {choice.version.name} was being loaded")
            return await self._forecast(asked, loaded)
        finally:
            lease.release()

    async def _asked(self, call: Call) -> _Asked:
        """Read a request; its deadline is the call's, or its own where that is earlier."""
        is_quick = self._reader.is_quick(call.body, call.content_type)
        if is_quick:
            request = self._read(self._reader, call)
        else:
            reading = self._in_thread(self._read, self._reader_within(call), call)
            request = await call.within(reading, "the data were being read")
        warnings = (*request.warnings, *self._stood_in(call))
        until = min(call.until, time.monotonic() + request.timeout_s)
        return _Asked(replace(request, warnings=warnings), replace(call, until=until), is_quick)

    def _stood_in(self, call: Call) -> Iterator[str]:
        """Say for which models this one stands in."""
        for skipped in call.skipped or ():
            model_id, _, code = skipped.partition(";")
            yield f"{model_id} could not answer ({code}); {self._service.spec.model_id} did"

    def _reader_within(self, call: Call) -> RequestReader:
        """Have the thread give up a URL soon after its caller has."""
        policy = self._reader.policy
        url_timeout_s = min(policy.url_timeout_s, call.left_s + _URL_GRACE_S)
        return RequestReader(policy.model_copy(update={"url_timeout_s": url_timeout_s}))

    def _read(self, reader: RequestReader, call: Call) -> InferenceRequest:
        return reader.read(
            call.body,
            call.content_type,
            self._service.spec,
            default_horizon=self._service.default_horizon,
            is_routed=call.skipped is not None,
        )

    async def _forecast(self, asked: _Asked, loaded: LoadedModel) -> Answer:
        """Forecast with a loaded model, and say which it was."""
        call = asked.call
        if asked.is_quick:
            future = _queued(asked, loaded)
        else:
            queueing = self._in_thread(_queued, asked, loaded)
            future = await call.within(queueing, "the series were being checked")
        outcome = await call.within(asyncio.wrap_future(future), "the forecast was being computed")
        if len(outcome.results) * asked.request.task.horizon <= _SMALL_ANSWER:
            return _encoded(asked, outcome, loaded)
        encoding = self._in_thread(_encoded, asked, outcome, loaded)
        return await call.within(encoding, "the forecast was being encoded")

    async def _in_thread(self, function: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _queued(asked: _Asked, loaded: LoadedModel) -> "Future[Outcome[Forecast]]":
    request = asked.request
    return loaded.run(request.series, request.task, timeout_s=asked.call.left_s)


def _encoded(asked: _Asked, outcome: Outcome[Forecast], loaded: LoadedModel) -> Answer:
    timing = Timing(outcome.queue_s * 1000, outcome.predict_s * 1000, outcome.batch_size)
    facts = facts_of(loaded)
    body, media_type = encode(asked.request, outcome.results, facts, timing, asked.call.accept)
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
