"""Who may call what. Everything needs a key, except the paths named here."""

import hmac
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from forecast.core.errors import Unauthorized

PUBLIC_PATHS = frozenset(
    {
        "/",
        "/health",
        "/health/live",
        "/health/ready",
        "/info",
        "/models",
        "/docs",
        "/docs/oauth2-redirect",
        "/redoc",
        "/openapi.json",
    }
)


class KeyGate:
    """Lets a request pass that has one of the keys, or asks for a public path.

    Keys are compared whole and in constant time. Without keys every request passes: that
    is for a Unix socket, whose file mode already says who may connect.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        self._app = app
        self._keys = tuple(key.encode() for key in keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._keys and scope["path"] not in PUBLIC_PATHS:
            self._check(_presented(scope))
        await self._app(scope, receive, send)

    def _check(self, presented: bytes | None) -> None:
        if presented is None:
            raise Unauthorized(
                "this path needs a key: send 'Authorization: Bearer <key>' or 'X-API-Key: <key>'"
            )
        # Every key is compared, so that the time does not tell which one was close.
        if sum(hmac.compare_digest(presented, key) for key in self._keys) == 0:
            raise Unauthorized("the key is not known here")


def _presented(scope: Scope) -> bytes | None:
    """Find the key in the headers; `Authorization` wins where both are sent."""
    found: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return bytes(value[7:].strip())
        if name == b"x-api-key":
            found = value
    return found
