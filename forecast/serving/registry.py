"""Which host answers for each model."""

import asyncio
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from forecast.serving.hosts import Host


class HostRegistry(Mapping[str, Host]):
    """model_id → host, started and closed together."""

    def __init__(self, hosts: Mapping[str, Host]) -> None:
        self._hosts = MappingProxyType(dict(hosts))

    def __getitem__(self, model_id: str) -> Host:
        return self._hosts[model_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hosts)

    def __len__(self) -> int:
        return len(self._hosts)

    async def start(self) -> None:
        """Start every host."""
        await asyncio.gather(*(host.start() for host in self._hosts.values()))

    async def close(self) -> None:
        """Answer what waits, then give everything back."""
        await asyncio.gather(*(host.close() for host in self._hosts.values()))
