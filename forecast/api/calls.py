"""From a request to a call of a host, and back: bytes in, bytes out."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from fastapi import Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from forecast.api.options import ApiOptions
from forecast.api.problems import request_id_of
from forecast.data.bodies import is_quick, timeout_of
from forecast.serving.hosts import ROUTED, SECONDS_LEFT, Answer, Call, Operation

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


async def inference_call(request: Request, options: ApiOptions) -> Call:
    """Read a request for a forecast, with its deadline.

    Raises:
        DeadlinePassed: its body took too long to arrive.
    """
    call = await arrived(request, options)
    if options.is_host and (told := _told(request, call, options)) is not None:
        return told
    policy = options.policy
    timeout_s = await read_aside(call, timeout_of, call.body, call.content_type, policy)
    return replace(call, until=received_at(request) + timeout_s)


async def arrived(request: Request, options: ApiOptions) -> Call:
    """Wait for the body of a request for a forecast, no longer than any forecast may take.

    Raises:
        DeadlinePassed: its body took too long to arrive.
    """
    longest = Call(Operation.INFERENCE, until=received_at(request) + options.policy.max_timeout_s)
    return await longest.within(call_of(request, Operation.INFERENCE), "the body was arriving")


async def read_aside(call: Call, read: Callable[..., Result], *arguments: object) -> Result:
    """Read a body in a thread, unless it is so small that a thread costs more."""
    if is_quick(call.body):
        return read(*arguments)
    return await asyncio.to_thread(read, *arguments)


def received_at(request: Request) -> float:
    """Tell when the first bytes of a request arrived, on the clock of `time.monotonic`."""
    return float(request.scope["state"]["received_at"])


def _told(request: Request, call: Call, options: ApiOptions) -> Call | None:
    """Take over what a gateway tells of a call: how long it has left, and how it got here.

    Whoever has the key of a host may send the same; none of it lets more be asked of the host
    than a body may ask for.
    """
    try:
        left_s = min(float(request.headers[SECONDS_LEFT]), options.policy.max_timeout_s)
    except (KeyError, ValueError):
        return None
    routed = request.headers.get(ROUTED)
    return replace(
        call,
        until=received_at(request) + left_s,
        skipped=None if routed is None else tuple(filter(None, routed.split(", "))),
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
