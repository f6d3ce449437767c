"""One look into a table finds the routes of a model, however many models there are."""

from collections.abc import Mapping

from fastapi import APIRouter
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send


class ModelSwitch(BaseRoute):
    """Passes `<prefix>/<model_id>/…` on to the router of that model.

    A router tries its routes one after the other: with every model's among them, the last
    model's requests would wait for a hundred others to be tried.
    """

    def __init__(self, prefix: str, routers: Mapping[str, APIRouter]) -> None:
        self.routers = routers
        self._prefix = f"{prefix}/"

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if not path.startswith(self._prefix):
            return Match.NONE, {}
        router = self.routers.get(path[len(self._prefix) :].partition("/")[0])
        return (Match.FULL, {"endpoint": router}) if router else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["endpoint"](scope, receive, send)
