"""The names that stand for versions of a model: who set them, when and why; and back again."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.background import BackgroundTask

from forecast.api import examples
from forecast.api.alias_requests import LONGEST_REASON, AliasRequest, read_alias
from forecast.api.openapi import problems, takes
from forecast.api.responses import json_response
from forecast.api.schemas import (
    AliasChangeDocument,
    AliasesDocument,
    AliasHistoryDocument,
)
from forecast.api.security import caller_of
from forecast.core.errors import VersionNotFound
from forecast.core.times import to_utc
from forecast.models.spec import ModelSpec
from forecast.store.alias_log import AliasChange
from forecast.store.aliases import Aliases
from forecast.store.versions import ModelStore

AliasName = Annotated[str, Path(max_length=100, description="Such as `current` or `champion`.")]
Moment = Annotated[
    date | datetime | None,
    Query(
        description="A day, for its end in UTC, or a moment (ISO 8601).", examples=["2026-11-21"]
    ),
]
Limit = Annotated[int, Query(ge=1, le=1000, description="Changes to list at most.")]
Reason = Annotated[str, Query(min_length=1, max_length=LONGEST_REASON, description="Why.")]
OnChange = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Versions:
    """The store, and what follows from a change in it.

    Attributes:
        on_change: told the id of a model one of whose aliases has changed, once the caller has
            been answered; copies it elsewhere. Hosts follow `current` by themselves.
    """

    store: ModelStore
    on_change: OnChange | None = None


def alias_router(spec: ModelSpec, versions: Versions) -> APIRouter:
    """Build `aliases` of a model and what is under it, for its router."""
    router = APIRouter(prefix="/aliases", tags=["versions"])
    aliases = versions.store.model(spec.model_id).aliases

    @router.get("", response_model=AliasesDocument, responses=problems(401, 404))
    async def list_aliases() -> Response:
        """List the aliases of this model, and which version each stands for."""
        found = await asyncio.to_thread(aliases.all)
        return json_response({"aliases": found, "count": len(found)})

    @router.get(
        "/{alias}",
        response_model=AliasChangeDocument,
        responses=problems(401, 404, 422),
    )
    async def get_alias(alias: AliasName) -> Response:
        """Show which version an alias stands for, and who made it so, when and why."""
        changes = await asyncio.to_thread(_changes, aliases, alias)
        if changes[0].version is None:
            raise VersionNotFound(f"the alias {alias!r} was removed; its history tells when")
        return json_response(_document(changes[0]))

    @router.put(
        "/{alias}",
        response_model=AliasChangeDocument,
        responses=problems(400, 401, 404, 409, 413, 415, 422, 503, 507),
        openapi_extra=takes(AliasRequest, shown=examples.ALIASES),
    )
    async def change_alias(alias: AliasName, request: Request) -> Response:
        """Promote a version, or roll back to the one before; atomic, and kept with its reason.

        Where `current` changes, the hosts that answer with it load it within seconds: the old
        weights answer until the new ones are ready.
        """
        wanted = read_alias(await request.body(), request.headers.get("content-type", ""))
        made = await asyncio.to_thread(_make, aliases, alias, wanted, caller_of(request))
        return _changed(made, versions, spec)

    @router.delete(
        "/{alias}",
        response_model=AliasChangeDocument,
        responses=problems(401, 404, 409, 422, 507),
    )
    async def remove_alias(
        alias: AliasName, request: Request, reason: Reason = "removed"
    ) -> Response:
        """Remove an alias; its history stays."""
        made = await asyncio.to_thread(aliases.remove, alias, who=caller_of(request), why=reason)
        return _changed(made, versions, spec)

    @router.get(
        "/{alias}/history",
        response_model=AliasHistoryDocument,
        responses=problems(401, 404, 422),
    )
    async def get_alias_history(
        alias: AliasName, on: Moment = None, limit: Limit = 100
    ) -> Response:
        """List who changed an alias, when and why; `on` tells which version served then."""
        return await asyncio.to_thread(_history, aliases, alias, _moment(on), limit)

    return router


def _make(aliases: Aliases, alias: str, wanted: AliasRequest, who: str) -> AliasChange:
    if wanted.version is None:
        return aliases.rollback(alias, who=who, why=wanted.reason)
    return aliases.set(alias, wanted.version, who=who, why=wanted.reason)


def _changed(made: AliasChange, versions: Versions, spec: ModelSpec) -> Response:
    answer = json_response(_document(made))
    if versions.on_change is not None:
        answer.background = BackgroundTask(versions.on_change, spec.model_id)
    return answer


def _changes(aliases: Aliases, alias: str) -> list[AliasChange]:
    """List the changes of an alias, newest first.

    Raises:
        VersionNotFound: there never was such an alias.
    """
    changes = aliases.history(alias)
    if not changes:
        raise VersionNotFound(
            f"there is no alias {alias!r}; there are {', '.join(aliases.all()) or 'none'}"
        )
    return changes[::-1]


def _history(aliases: Aliases, alias: str, on: datetime | None, limit: int) -> Response:
    changes = _changes(aliases, alias)
    served = changes[0].version if on is None else aliases.served_on(alias, on)
    return json_response(
        {
            "alias": alias,
            "history": [_document(change) for change in changes[:limit]],
            "count": len(changes),
            "on": None if on is None else on.isoformat(),
            "served": served,
        }
    )


def _moment(on: date | datetime | None) -> datetime | None:
    """Read a day as its last moment, and a time without a zone as UTC."""
    if on is None:
        return None
    if not isinstance(on, datetime):
        return datetime.combine(on, time.max, UTC)
    return to_utc(on)


def _document(change: AliasChange) -> dict[str, Any]:
    return change.model_dump(mode="json")
