"""Calls passed on to a host in another process or on another machine."""

import aiohttp

from forecast.core.errors import HostUnavailable
from forecast.models.spec import ModelSpec
from forecast.serving.hosts import Answer, Call, Operation

_KEPT_HEADERS = ("Retry-After", "X-Forecast-Version", "X-Forecast-Cutoff", "X-Forecast-SHA256")


class NotConnected(HostUnavailable):
    """Nobody listens: the call was never sent, so another host may be asked."""


class Channel:
    """Passes calls on to a host over HTTP, bytes in and bytes out."""

    def __init__(
        self,
        model_id: str,
        base_url: str,
        *,
        connector: aiohttp.BaseConnector,
        max_call_s: float,
        api_key: str | None = None,
    ) -> None:
        self._model_id = model_id
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=max_call_s, sock_connect=5.0),
            auto_decompress=True,
        )
        self._absence = f"the host of {model_id} does not answer; try again in a moment"
        self.outstanding = 0

    async def forward(self, call: Call) -> Answer:
        """Send a call; errors of the host come back as its answer.

        Raises:
            NotConnected: nobody listens.
            HostUnavailable: the host went away while it answered.
        """
        url = f"{self._base_url}/forecast/v1/{self._model_id}/{call.operation}"
        method = "GET" if call.operation is Operation.STATUS else "POST"
        headers = {
            "Content-Type": call.content_type,
            "Accept": call.accept,
            "X-Request-ID": call.request_id,
            **self._headers,
        }
        self.outstanding += 1
        try:
            async with self._session.request(
                method, url, data=call.body or None, headers=headers, allow_redirects=False
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
        except aiohttp.ClientConnectorError as error:
            raise NotConnected(self._absence, retry_after_s=1.0) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise HostUnavailable(self._absence, retry_after_s=1.0) from error
        finally:
            self.outstanding -= 1

    async def is_alive(self) -> bool:
        """Whether the host listens."""
        try:
            async with self._session.get(f"{self._base_url}/health/live") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def close(self) -> None:
        await self._session.close()


class RemoteHost:
    """A host on another machine or in a container, at a base URL."""

    def __init__(
        self, spec: ModelSpec, base_url: str, *, api_key: str | None, max_call_s: float = 900.0
    ) -> None:
        self.spec = spec
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._max_call_s = max_call_s
        self._channel: Channel | None = None

    async def start(self) -> None:
        """Open the connections; the remote machine looks after its own model."""
        self._channel = Channel(
            self.spec.model_id,
            self._base_url,
            connector=aiohttp.TCPConnector(limit=1024),
            max_call_s=self._max_call_s,
            api_key=self._api_key,
        )

    async def call(self, call: Call) -> Answer:
        """Answer one call.

        Raises:
            HostUnavailable: the machine does not answer.
        """
        if self._channel is None:
            raise HostUnavailable(f"the host of {self.spec.model_id} is not started")
        return await self._channel.forward(call)

    async def close(self) -> None:
        """Close the connections; the remote machine goes on."""
        if self._channel is not None:
            await self._channel.close()
