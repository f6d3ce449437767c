"""The application over real HTTP, and a host that a test writes in a line."""

import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

import httpx2
import orjson
from fastapi import FastAPI

from forecast.api.app import create_app
from forecast.api.options import ApiOptions
from forecast.models.spec import Capabilities, License, ModelSpec
from forecast.server import Server, tcp_socket
from forecast.serving.hosts import Answer, Call, Host

KEY = "a-key-of-the-test"
AUTH = {"Authorization": f"Bearer {KEY}"}
OPTIONS = {"version": "1.2.3", "api_keys": (KEY,)}


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """Serve on a port of the system's choosing; the socket listens before the server does."""
    listening = tcp_socket("127.0.0.1", 0)
    server = Server(app, shutdown_s=5)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.stop()
        thread.join(60)
        assert not thread.is_alive()


def caller(url: str) -> httpx2.Client:
    """Call with the key; no certificates are read, which takes longer than most calls."""
    return httpx2.Client(base_url=url, headers=AUTH, timeout=60, verify=False)


@contextmanager
def client_of(hosts: Mapping[str, Host], **options: object) -> Iterator[httpx2.Client]:
    """Serve hosts; the client sends the key."""
    app = create_app(hosts, ApiOptions(**(OPTIONS | options)))  # type: ignore[arg-type]
    with running(app) as url, caller(url) as client:
        yield client


def spec_of(model_id: str, **changes: object) -> ModelSpec:
    fields: dict[str, object] = {
        "model_id": model_id,
        "name": model_id.title(),
        "version": "1",
        "description": "Answers as its test says",
        "default_port": 8999,
        "model": "tests.serving.toy_model:ToyModel",
        "weights": None,
        "capabilities": Capabilities(),
        "license": License("MIT", True, "https://example.org/license"),
        "extra": "toy",
    }
    return ModelSpec(**(fields | changes))  # type: ignore[arg-type]


class ScriptedHost:
    """Answers with a function of its test, and remembers what it was asked."""

    def __init__(
        self, model_id: str, behave: Callable[[Call], Awaitable[Answer]], **spec: object
    ) -> None:
        self.spec = spec_of(model_id, **spec)
        self.calls: list[Call] = []
        self.life: list[str] = []
        self._behave = behave

    async def start(self) -> None:
        self.life.append("started")

    async def call(self, call: Call) -> Answer:
        self.calls.append(call)
        return await self._behave(call)

    async def close(self) -> None:
        self.life.append("closed")


def json_answer(document: object, status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(document))


def status_answer(state: str, details: str | None = None) -> Answer:
    return json_answer(
        {
            "model_status": state,
            "details": details,
            "source": None,
            "version": None,
            "device": "cpu",
            "loaded_at": None,
        }
    )


def replying(model_id: str, answer: Answer) -> ScriptedHost:
    async def behave(call: Call) -> Answer:
        return answer

    return ScriptedHost(model_id, behave)


def failing(model_id: str, error: Exception) -> ScriptedHost:
    async def behave(call: Call) -> Answer:
        raise error

    return ScriptedHost(model_id, behave)
