"""Who may call what. Everything needs a key, except the paths named here."""

import hashlib
import hmac
from collections.abc import Sequence

from fastapi import Request
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


_NOBODY = "local"  # without keys, whoever may open the socket
_DIGITS = 6


def caller_of(request: Request) -> str:
    """Name who calls, for a record: by the first digits of the hash of the key, never the key."""
    return str(request.scope.get("state", {}).get("caller", _NOBODY))


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
            scope.setdefault("state", {})["caller"] = self._checked(_presented(scope))
        await self._app(scope, receive, send)

    def _checked(self, presented: bytes | None) -> str:
        """Name who has this key."""
        if presented is None:
            raise Unauthorized(
                "this path needs a key: send 'Authorization: Bearer <key>' or 'X-API-Key: <key>'"
            )
        # Every key is compared, so that the time does not tell which one was close.
        if sum(hmac.compare_digest(presented, key) for key in self._keys) == 0:
            raise Unauthorized("the key is not known here")
        return f"key-{hashlib.sha256(presented).hexdigest()[:_DIGITS]}"


def _presented(scope: Scope) -> bytes | None:
    """Find the key in the headers; `Authorization` wins where both are sent."""
    found: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return bytes(value[7:].strip())
        if name == b"x-api-key":
            found = value
    return found
