"""How the models are, asked of their hosts, all at once and never for long."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from forecast.core.errors import ForecastError, HostUnavailable
from forecast.serving.hosts import Answer, Call, Host, Operation

_PATIENCE_S = 3.0


async def status_of(host: Host, call: Call) -> Answer:
    """Ask a host how its model is.

    Raises:
        HostUnavailable: it gives no answer, soon.
    """
    try:
        return await asyncio.wait_for(host.call(call), _PATIENCE_S)
    except TimeoutError as error:
        raise HostUnavailable(
            f"the host of {host.spec.model_id} gave no answer within {_PATIENCE_S:g} s",
            retry_after_s=_PATIENCE_S,
        ) from error


async def state_of(host: Host) -> dict[str, Any]:
    """Ask a host how its model is; a host that cannot tell is in state `error`."""
    try:
        answer = await status_of(host, Call(Operation.STATUS))
    except ForecastError as error:
        return _unknown(error.detail)
    document: dict[str, Any] = orjson.loads(answer.body)
    if answer.status != 200:
        return _unknown(str(document.get("detail", f"the host answered {answer.status}")))
    return document


async def states_of(hosts: Mapping[str, Host]) -> dict[str, dict[str, Any]]:
    """Ask every host at the same time."""
    states = await asyncio.gather(*(state_of(host) for host in hosts.values()))
    return dict(zip(hosts, states, strict=True))


def _unknown(reason: str) -> dict[str, Any]:
    return {
        "model_status": "error",
        "details": reason,
        "source": None,
        "version": None,
        "device": None,
        "loaded_at": None,
    }
