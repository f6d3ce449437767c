"""Calls passed on to a host in another process or on another machine."""

import math
from collections.abc import AsyncIterator

import aiohttp

from forecast.core.errors import HostUnavailable
from forecast.models.spec import ModelSpec
from forecast.serving.hosts import ROUTED, SECONDS_LEFT, Answer, Call, Operation

MAX_CALL_S = 3600.0  # a first initialization may download gigabytes

_KEPT_HEADERS = ("Retry-After", "X-Forecast-Version", "X-Forecast-Cutoff", "X-Forecast-SHA256")
_GRACE_S = 0.5  # the host keeps the same deadline and says more about it
_CONNECT_S = _HEALTH_S = 5.0
_PIECE_BYTES = 256 * 1024


class NotConnected(HostUnavailable):
    """No connection was made: the call was never sent, so it may be sent again."""


class Channel:
    """Passes calls on to a host over HTTP, bytes in and bytes out."""

    def __init__(
        self,
        model_id: str,
        base_url: str,
        *,
        connector: aiohttp.BaseConnector,
        api_key: str | None = None,
    ) -> None:
        self._model_id = model_id
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=MAX_CALL_S, sock_connect=_CONNECT_S),
            auto_decompress=True,
        )
        self._absence = f"the host of {model_id} does not answer; try again in a moment"
        self.outstanding = 0

    async def forward(self, call: Call) -> Answer:
        """Send a call; errors of the host come back as its answer.

        Raises:
            NotConnected: no connection could be made.
            HostUnavailable: the host went away while it answered.
            DeadlinePassed: it did not answer in time.
        """
        self.outstanding += 1
        try:
            delay = f"the host of {self._model_id} gave no answer"
            return await call.within(self._exchange(call), delay, grace_s=_GRACE_S)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotConnected(self._absence, retry_after_s=1.0) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise HostUnavailable(self._absence, retry_after_s=1.0) from error
        finally:
            self.outstanding -= 1

    async def _exchange(self, call: Call) -> Answer:
        url = f"{self._base_url}/forecast/v1/{self._model_id}/{call.operation}"
        method = "GET" if call.operation is Operation.STATUS else "POST"
        async with self._session.request(
            method,
            url,
            data=_pieces(call.body) if len(call.body) > _PIECE_BYTES else call.body or None,
            headers=_headers_of(call) | self._headers,
            allow_redirects=False,
        ) as response:
            return Answer(
                response.status,
                await response.read(),
                response.headers.get("Content-Type", "application/json"),
                {
                    name: response.headers[name]
                    for name in _KEPT_HEADERS
                    if name in response.headers
                },
            )

    async def is_alive(self) -> bool:
        """Whether the host answers a question about its health, soon."""
        limit = aiohttp.ClientTimeout(total=_HEALTH_S)
        try:
            async with self._session.get(f"{self._base_url}/health/live", timeout=limit) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def close(self) -> None:
        await self._session.close()


def _headers_of(call: Call) -> dict[str, str]:
    headers = {
        "Content-Type": call.content_type,
        "Accept": call.accept,
        "X-Request-ID": call.request_id,
    }
    if len(call.body) > _PIECE_BYTES:
        headers["Content-Length"] = str(len(call.body))
    if not math.isinf(call.until):
        headers[SECONDS_LEFT] = f"{call.left_s:.3f}"
    if call.skipped is not None:
        headers[ROUTED] = ", ".join(call.skipped)
    return headers


async def _pieces(body: bytes) -> AsyncIterator[memoryview]:
    """Cut a large body, so that other calls are sent in between."""
    view = memoryview(body)
    for start in range(0, len(body), _PIECE_BYTES):
        yield view[start : start + _PIECE_BYTES]


class RemoteHost:
    """A host on another machine or in a container, at a base URL."""

    def __init__(self, spec: ModelSpec, base_url: str, *, api_key: str | None) -> None:
        self.spec = spec
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._channel: Channel | None = None

    async def start(self) -> None:
        """Open the connections; the remote machine looks after its own model."""
        self._channel = Channel(
            self.spec.model_id,
            self._base_url,
            connector=aiohttp.TCPConnector(limit=1024),
            api_key=self._api_key,
        )

    async def call(self, call: Call) -> Answer:
        """Answer one call.

        Raises:
            HostUnavailable: the machine does not answer.
            DeadlinePassed: it did not answer in time.
        """
        if self._channel is None:
            raise HostUnavailable(f"the host of {self.spec.model_id} is not started")
        return await self._channel.forward(call)

    async def close(self) -> None:
        """Close the connections; the remote machine goes on."""
        if self._channel is not None:
            await self._channel.close()
