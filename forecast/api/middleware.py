"""What happens around every request, as plain ASGI: no task and no stream of its own."""

import logging
import re
import time
import uuid
from dataclasses import dataclass

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forecast.api.problems import CLIENT_GONE, Problem, problem_of, problem_of_bug
from forecast.core.errors import Draining, ForecastError, TooLarge, UnsupportedFormat
from forecast.data.bodies import Gunzip

log = logging.getLogger(__name__)
access = logging.getLogger("forecast.access")

_ENCODING_HEADERS = (b"content-encoding", b"content-length")
_SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


@dataclass(slots=True)
class Lifecycle:
    """Whether this process still takes work; written by whoever ends it."""

    draining: bool = False


class Edge:
    """Names, times, logs each request, and turns whatever is raised into a problem.

    The one place where an error becomes an answer: what it cannot name is a bug, which the
    caller learns by its request id only and the log in full, once.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        try:
            await self._app(scope, receive, exchange.send)
        except ClientDisconnect:
            pass  # nobody is left to answer
        except ForecastError as error:
            await self._answer(exchange, problem_of(error), receive, error)
        except Exception as error:
            log.exception("request %s failed", exchange.request_id)
            await self._answer(exchange, problem_of_bug(), receive, error)
        finally:
            exchange.log()

    async def _answer(
        self, exchange: "_Exchange", problem: Problem, receive: Receive, error: Exception
    ) -> None:
        if exchange.status:
            raise error  # half an answer has left already; only closing the connection says so
        scope = exchange.scope
        response = problem.response(path=scope["path"], request_id=exchange.request_id)
        await response(scope, receive, exchange.send)


class _Exchange:
    """One request and what is known of its answer; `status` is 0 until it starts."""

    __slots__ = ("_send", "_started", "request_id", "scope", "status")

    def __init__(self, scope: Scope, send: Send) -> None:
        self._started = time.perf_counter()
        self._send = send
        self.scope = scope
        self.status = 0
        self.request_id = _request_id(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = self.request_id
        state["received_at"] = time.monotonic()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", self.request_id.encode()),
                (b"x-process-time", b"%.6f" % self.seconds),
            ]
        await self._send(message)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def log(self) -> None:
        if not access.isEnabledFor(logging.INFO):
            return
        fields = {
            "method": self.scope["method"],
            "path": self.scope["path"],
            "status": self.status or CLIENT_GONE,
            "ms": round(self.seconds * 1e3, 3),
            "request_id": self.request_id,
            "client": (self.scope.get("client") or ("",))[0],
        }
        # repr: a path holds whatever the caller sent, a line break too
        access.info(
            "%s %r %s %s ms %s",
            fields["method"],
            fields["path"],
            fields["status"],
            fields["ms"],
            fields["request_id"],
            extra={"fields": fields},
        )


class DrainGate:
    """Turns new work away once the process is ending; health stays visible."""

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle) -> None:
        self._app = app
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            self._lifecycle.draining
            and scope["type"] == "http"
            and not scope["path"].startswith("/health")
        ):
            raise Draining("the server is shutting down; try again in a moment", retry_after_s=5)
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuses a body over `max_bytes`: at once if it is announced, else while it streams in."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _announced(scope) > self._max_bytes:
            raise self._error()
        left = self._max_bytes

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise self._error()
            return message

        await self._app(scope, counted, send)

    def _error(self) -> TooLarge:
        return TooLarge(f"the body is over the limit of {self._max_bytes} bytes; send fewer series")


class Unpack:
    """Unpacks a gzip body as it streams in, to at most `max_bytes`; refuses other encodings."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        encoding = _header(scope, b"content-encoding") if scope["type"] == "http" else b""
        encoding = encoding.strip().lower()
        if encoding in (b"", b"identity"):
            await self._app(scope, receive, send)
            return
        if encoding not in (b"gzip", b"x-gzip"):
            raise UnsupportedFormat(
                f"a body with Content-Encoding {encoding.decode('latin-1')!r} is not read; send it"
                " with gzip, or without an encoding"
            )
        stream = Gunzip(self._max_bytes)

        async def plain() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                message = {**message, "body": stream.feed(message.get("body", b""))}
                if not message.get("more_body", False):
                    stream.finish()
            return message

        headers = [(k, v) for k, v in scope["headers"] if k not in _ENCODING_HEADERS]
        await self._app({**scope, "headers": headers}, plain, send)


def _header(scope: Scope, name: bytes) -> bytes:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


def _announced(scope: Scope) -> int:
    value = _header(scope, b"content-length")
    return int(value) if value.isdigit() else 0


def _request_id(scope: Scope) -> str:
    """Take the caller's id where it is harmless in a log and a header, else make one."""
    given = _header(scope, b"x-request-id")
    return given.decode() if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
