"""Files behind http(s) URLs, fetched without ever reaching into a private network.

Every host is resolved here and every address checked, then connections go to exactly the
checked addresses: a name that resolves differently the second time gains nothing. Redirects
are followed here too, each checked like the first URL. No proxy is used.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from forecast.core.errors import BadData, FileMissing, Forbidden, InvalidRequest, TooLarge
from forecast.data.policy import DataPolicy

_CHUNK = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LONGEST_URL = 4096
_MOST_REDIRECTS = 5

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """What a URL answered.

    Attributes:
        name: last part of the path of the last URL.
        media_type: what the server calls it, or "".
    """

    body: bytes
    name: str
    media_type: str


def fetch(url: str, policy: DataPolicy) -> FetchedFile:
    """Fetch a file. Blocks; call it from a thread without an event loop.

    Raises:
        InvalidRequest: not an http(s) URL, or one with credentials.
        Forbidden: the host is private, or a redirect leads there.
        FileMissing: the server has no such file.
        BadData: the server does not answer, answers with an error, or too slowly.
        TooLarge: the file is larger than allowed.
    """
    try:
        return asyncio.run(_fetch_in_time(url, policy))
    except TimeoutError as error:
        raise BadData(f"the URL was not fetched within {policy.url_timeout_s:g} seconds") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise BadData("the URL cannot be fetched; its server does not answer well") from error


async def _fetch_in_time(url: str, policy: DataPolicy) -> FetchedFile:
    async with asyncio.timeout(policy.url_timeout_s):
        return await _follow(_parsed(url), policy)


async def _follow(url: URL, policy: DataPolicy) -> FetchedFile:
    for _ in range(_MOST_REDIRECTS + 1):
        found = await _request(url, policy)
        if isinstance(found, FetchedFile):
            return found
        url = found
    raise BadData(f"the URL redirects more than {_MOST_REDIRECTS} times")


async def _request(url: URL, policy: DataPolicy) -> FetchedFile | URL:
    """Ask for a URL once: the file, or where else to look."""
    addresses = await _checked_addresses(url, policy)
    connector = aiohttp.TCPConnector(
        resolver=_PinnedResolver(addresses), use_dns_cache=False, force_close=True
    )
    async with (
        aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": "forecast-gateway"},
        ) as session,
        session.get(url, allow_redirects=False) as answer,
    ):
        if answer.status in _REDIRECTS:
            return _parsed(str(url.join(URL(answer.headers.get("Location", "")))))
        _check_answer(answer, policy)
        body = await _limited(answer, policy.max_url_bytes)
        return FetchedFile(body, url.name, answer.headers.get("Content-Type", ""))


def _check_answer(answer: aiohttp.ClientResponse, policy: DataPolicy) -> None:
    if answer.status in _GONE:
        raise FileMissing("the server of the URL has no such file")
    if answer.status != 200:
        raise BadData(f"the server of the URL answered with status {answer.status}, not a file")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise BadData("the server of the URL compresses what it sends; it must send the file as is")
    if (answer.content_length or 0) > policy.max_url_bytes:
        raise _too_large(policy.max_url_bytes)


async def _limited(answer: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    return bytes(body)


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the file behind the URL is larger than the {max_bytes} bytes allowed")


def _parsed(text: str) -> URL:
    """Read a URL.

    Raises:
        InvalidRequest: it is not one that may be fetched at all.
    """
    if len(text) > _LONGEST_URL:
        raise InvalidRequest(f"a URL may have at most {_LONGEST_URL} characters")
    try:
        url = URL(text)
        host, port = url.host, url.port
    except ValueError as error:
        raise InvalidRequest("the URL is not well formed") from error
    if url.scheme not in {"http", "https"} or not host or not port:
        raise InvalidRequest("only http and https URLs with a host are fetched")
    if url.user is not None or url.password is not None:
        raise InvalidRequest("a URL may not carry a user or password")
    return url.with_fragment(None)


async def _checked_addresses(url: URL, policy: DataPolicy) -> list[ResolveResult]:
    """Resolve the host of a URL.

    Raises:
        Forbidden: any address of it is private.
        BadData: it does not resolve.
    """
    assert url.host is not None
    assert url.port is not None
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BadData("the host of the URL is not known") from error
    if not policy.allow_private_urls:
        for *_, address in found:
            if not is_public(ipaddress.ip_address(str(address[0]).partition("%")[0])):
                raise Forbidden("the URL leads into a private network, which is not allowed")
    return [
        ResolveResult(
            hostname=url.host,
            host=str(address[0]),
            port=url.port,
            family=family,
            proto=protocol,
            flags=socket.AI_NUMERICHOST,
        )
        for family, _, protocol, _, address in found
    ]


def is_public(address: IpAddress) -> bool:
    """Whether an address belongs to the public internet, what it embeds included."""
    if isinstance(address, ipaddress.IPv6Address):
        embedded = _embedded(address)
        if embedded is not None:
            return is_public(embedded)
        if address.is_site_local:
            return False
    return address.is_global and not (
        address.is_multicast
        or address.is_reserved
        or address.is_loopback
        or address.is_link_local
        or address.is_unspecified
    )


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Find the IPv4 address that a translated or tunnelled IPv6 address leads to."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or int(address) < 2**32:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


class _PinnedResolver(AbstractResolver):
    """Answers with the addresses that were checked, and with nothing else."""

    def __init__(self, addresses: Sequence[ResolveResult]) -> None:
        self._addresses = addresses

    async def resolve(
        self,
        host: str,
        port: int = 0,  # noqa: ARG002 -- the addresses carry it
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address["host"],
                port=address["port"],
                family=address["family"],
                proto=address["proto"],
                flags=address["flags"],
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Hold nothing, so nothing is closed."""
