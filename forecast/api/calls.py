"""From a request to a call of a host, and back: bytes in, bytes out."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from forecast.api.problems import request_id_of
from forecast.serving.hosts import Answer, Call, Operation

Result = TypeVar("Result")


async def call_of(request: Request, operation: Operation) -> Call:
    """Read the body, as it is, and the few headers a host looks at."""
    headers = request.headers
    return Call(
        operation,
        body=await request.body(),
        content_type=headers.get("content-type", "application/json"),
        accept=headers.get("accept", "application/json"),
        request_id=request_id_of(request),
    )


def response_of(answer: Answer, headers: dict[str, str] | None = None) -> Response:
    """Pass on what a host answered, errors too."""
    return Response(
        answer.body,
        answer.status,
        headers=answer.headers | (headers or {}),
        media_type=answer.media_type,
    )


async def unless_gone(receive: Receive, work: Awaitable[Result]) -> Result:
    """Do the work; give it up as soon as the caller has gone.

    Args:
        receive: of a request whose body has been read: all it can tell now is that the
            caller went away.

    Raises:
        ClientDisconnect: the caller is gone; nobody is left to answer.
    """
    task = asyncio.ensure_future(work)
    watcher = asyncio.create_task(_cancel_when_gone(receive, task))
    try:
        return await task
    except asyncio.CancelledError:
        if watcher.done() and not watcher.cancelled():
            raise ClientDisconnect from None
        raise
    finally:
        watcher.cancel()


async def _cancel_when_gone(receive: Receive, task: asyncio.Future[Result]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel()
