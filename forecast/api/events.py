"""The events of a job as server-sent events (WHATWG HTML, section 9.2)."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import orjson
from fastapi import Response
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from forecast.api.middleware import Lifecycle
from forecast.core.errors import QueueFull
from forecast.jobs.records import JobEvent

EVENT_STREAM = EventSourceResponse.media_type
HEARTBEAT_S = 15.0

_LOOK_S = 0.5  # how soon a stream notices that the server is ending
_AHEAD = 64  # events read before the caller has taken them
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # no proxy holds them back


class EventStreams:
    """Those who follow jobs now, no more than `most`. Lives on one event loop."""

    def __init__(
        self, most: int, lifecycle: Lifecycle, *, heartbeat_s: float = HEARTBEAT_S
    ) -> None:
        self._most = most
        self._lifecycle = lifecycle
        self._heartbeat_s = heartbeat_s
        self._readers: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        """How many follow a job now."""
        return len(self._readers)

    async def follow(self, events: AsyncGenerator[JobEvent, None], *, wait: bool) -> Response:
        """Answer with the events as they come, until they end or the caller goes.

        Args:
            wait: whether there may be more later. Where not, and there are none, the answer is
                a 204, by which a browser knows not to come back.

        Raises:
            QueueFull: too many follow jobs already.
        """
        if self.open >= self._most:
            await events.aclose()
            raise QueueFull(
                f"{self.open} callers follow jobs already; ask for the job itself now and then",
                retry_after_s=5,
            )
        reader = _Reader(events)
        self._readers.add(reader.task)
        reader.task.add_done_callback(self._forget)
        if not wait and await reader.is_empty():
            return Response(status_code=204)
        return _EventResponse(reader, self._frames(reader))

    def _forget(self, reader: asyncio.Task[None]) -> None:
        self._readers.discard(reader)
        if not reader.cancelled():
            reader.exception()  # whoever still reads has met it; asyncio need not report it

    async def _frames(self, reader: "_Reader") -> AsyncIterator[bytes]:
        silent_since = time.monotonic()
        while not self._lifecycle.draining:
            try:
                async with asyncio.timeout(min(_LOOK_S, self._heartbeat_s)):
                    event = await reader.next()
            except TimeoutError:
                if time.monotonic() - silent_since < self._heartbeat_s:
                    continue
                yield format_sse_event(comment="heartbeat")
            else:
                if event is None:
                    return
                yield _frame(event)
            silent_since = time.monotonic()


class _Reader:
    """Reads events in a task of its own, a few ahead, so that giving up waiting loses none."""

    def __init__(self, events: AsyncGenerator[JobEvent, None]) -> None:
        self._read: asyncio.Queue[JobEvent | None] = asyncio.Queue(_AHEAD)
        self._first: JobEvent | None = None
        self.task = asyncio.create_task(self._pump(events))

    async def next(self) -> JobEvent | None:
        """Wait for the next event; None after the last.

        Raises:
            ForecastError: they cannot be read any longer.
        """
        if self._first is not None:
            event, self._first = self._first, None
            return event
        if (read := await self._read.get()) is None:
            await self.task  # raises what ended it
        return read

    async def is_empty(self) -> bool:
        """Tell whether there is no event at all; for events that end by themselves."""
        self._first = await self.next()
        return self._first is None

    async def _pump(self, events: AsyncGenerator[JobEvent, None]) -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    await self._read.put(event)
        finally:
            if not self.task.cancelling():  # else nobody reads any more
                await self._read.put(None)


class _EventResponse(EventSourceResponse):
    """Gives its reader up when it ends, however it ends."""

    def __init__(self, reader: _Reader, frames: AsyncIterator[bytes]) -> None:
        super().__init__(frames, headers=_HEADERS)
        self._reader = reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._reader.task.cancel()


def _frame(event: JobEvent) -> bytes:
    data = {"at": event.at.isoformat(), **event.data}
    return format_sse_event(
        event=event.kind, id=str(event.id), data_str=orjson.dumps(data).decode()
    )
