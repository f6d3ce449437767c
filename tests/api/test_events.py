"""Events as a stream: all of them, in order, as they come, and nothing left behind."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx2
import orjson
import pytest
from fastapi import FastAPI, Response
from starlette.middleware.gzip import GZipMiddleware

from forecast.api.events import EventStreams
from forecast.api.middleware import BodyLimit, Edge, Lifecycle
from forecast.jobs.records import JobEvent
from tests.api.serving import running

AT = datetime(2026, 11, 21, tzinfo=UTC)
PATIENCE_S = 60


def event(number: int, kind: str = "log", **data: object) -> JobEvent:
    return JobEvent(id=number, kind=kind, at=AT, data=data)


class Script:
    """Events that a test gives one by one; remembers whether its reader closed it."""

    def __init__(self) -> None:
        self.given: asyncio.Queue[JobEvent | Exception | None] = asyncio.Queue()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.began, self.closed = threading.Event(), threading.Event()
        self.before: list[JobEvent | Exception | None] = []

    def give(self, *events: JobEvent | Exception | None) -> None:
        """None ends them; an error breaks them."""
        if self.loop is None:
            self.before += events
            return
        for one in events:
            self.loop.call_soon_threadsafe(self.given.put_nowait, one)

    async def events(self) -> AsyncGenerator[JobEvent, None]:
        self.loop = asyncio.get_running_loop()
        for one in self.before:
            self.given.put_nowait(one)
        self.began.set()
        try:
            while (one := await self.given.get()) is not None:
                if isinstance(one, Exception):
                    raise one
                yield one
        finally:
            self.closed.set()


class Served:
    """A server with one route, which follows a script."""

    def __init__(self, most: int, heartbeat_s: float, make: Callable[[], Script]) -> None:
        self.lifecycle = Lifecycle()
        self.streams = EventStreams(most, self.lifecycle, heartbeat_s=heartbeat_s)
        self.scripts: list[Script] = []
        self.app = FastAPI()
        self.app.state.lifecycle = self.lifecycle
        self.url = ""

        @self.app.get("/events")
        async def events(wait: bool = True) -> Response:
            self.scripts.append(make())
            return await self.streams.follow(self.scripts[-1].events(), wait=wait)

        self.app.add_middleware(BodyLimit, max_bytes=100)
        self.app.add_middleware(GZipMiddleware, minimum_size=1)
        self.app.add_middleware(Edge)


@contextmanager
def serving(
    *before: JobEvent | Exception | None, most: int = 10, heartbeat_s: float = 60
) -> Iterator[Served]:
    def make() -> Script:
        script = Script()
        script.give(*before)
        return script

    served = Served(most, heartbeat_s, make)
    with running(served.app) as served.url:
        yield served


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_each_event_is_sent_when_it_comes_and_not_held_back():
    with serving() as served, httpx2.stream("GET", f"{served.url}/events", timeout=60) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        assert "content-encoding" not in response.headers
        lines = response.iter_lines()
        (script,) = served.scripts
        for number in (1, 2):  # the second is only made once the first was read
            script.give(event(number, line=f"of {number}\nand on"))
            frame = [next(lines) for _ in range(4)]
            assert frame[0] == "event: log"
            data = orjson.loads(frame[1].removeprefix("data: "))
            assert data == {"at": AT.isoformat(), "line": f"of {number}\nand on"}
            assert frame[2:] == [f"id: {number}", ""]
        script.give(event(3, "done", state="succeeded"), None)
        assert [line for line in lines if line][::2] == ["event: done", "id: 3"]
        until(lambda: served.streams.open == 0)
        assert script.closed.is_set()


def test_more_events_than_are_read_ahead_arrive_in_their_order():
    numbers = range(1, 501)
    with serving(*(event(number) for number in numbers), None) as served:
        text = httpx2.get(f"{served.url}/events", timeout=PATIENCE_S).text
    ids = [int(line[4:]) for line in text.splitlines() if line.startswith("id: ")]
    assert ids == list(numbers)


def test_a_silent_stream_has_a_heartbeat():
    with (
        serving(heartbeat_s=0.05) as served,
        httpx2.stream("GET", f"{served.url}/events", timeout=60) as response,
    ):
        lines = response.iter_lines()
        assert [next(lines) for _ in range(4)] == [": heartbeat", "", ": heartbeat", ""]
        served.scripts[0].give(event(1))
        assert "id: 1" in lines  # after more heartbeats


def test_a_caller_who_goes_leaves_nothing_open():
    with serving() as served:
        with httpx2.stream("GET", f"{served.url}/events", timeout=60):
            assert served.streams.open == 1
        assert served.scripts[0].closed.wait(PATIENCE_S)
        until(lambda: served.streams.open == 0)


def test_a_caller_who_goes_while_much_waits_for_it_leaves_nothing_open():
    with serving(*(event(number, line="x" * 10_000) for number in range(5000))) as served:
        with httpx2.stream("GET", f"{served.url}/events", timeout=60) as response:
            next(response.iter_lines())
        assert served.scripts[0].closed.wait(PATIENCE_S)
        until(lambda: served.streams.open == 0)


def test_only_so_many_may_follow_and_the_next_may_once_one_has_gone():
    with serving(most=1) as served:
        with httpx2.stream("GET", f"{served.url}/events", timeout=60):
            refused = httpx2.get(f"{served.url}/events", timeout=60)
            assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
            assert refused.headers["retry-after"] == "5"
        until(lambda: served.streams.open == 0)
        with httpx2.stream("GET", f"{served.url}/events", timeout=60) as response:
            assert response.status_code == 200


@pytest.mark.parametrize(("before", "status"), [((), 204), ((event(1),), 200)])
def test_where_nothing_more_can_come_a_browser_is_told_not_to_come_back(before, status):
    with serving(*before, None) as served:
        response = httpx2.get(f"{served.url}/events", params={"wait": False}, timeout=60)
        assert response.status_code == status
        assert ("id: 1" in response.text) == bool(before)
        until(lambda: served.streams.open == 0)


def test_a_stream_ends_when_the_server_does():
    with serving() as served, httpx2.stream("GET", f"{served.url}/events", timeout=60) as response:
        served.lifecycle.draining = True
        assert list(response.iter_lines()) == []
        assert served.scripts[0].closed.wait(PATIENCE_S)


def test_events_that_cannot_be_read_any_longer_break_the_stream(caplog):
    with serving(event(1), ValueError("a database of the test")) as served:
        with (
            pytest.raises(httpx2.RemoteProtocolError),
            httpx2.stream("GET", f"{served.url}/events", timeout=60) as response,
        ):
            list(response.iter_lines())
        until(lambda: served.streams.open == 0)
    assert "a database of the test" in caplog.text
