"""How the models are, asked of their hosts, all at once and never for long."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from forecast.core.errors import ForecastError
from forecast.serving.hosts import Call, Host, Operation

_PATIENCE_S = 3.0


async def state_of(host: Host) -> dict[str, Any]:
    """Ask a host how its model is; a host that cannot tell is in state `error`."""
    try:
        answer = await asyncio.wait_for(host.call(Call(Operation.STATUS)), _PATIENCE_S)
    except ForecastError as error:
        return _unknown(error.detail)
    except TimeoutError:
        return _unknown(f"the host gave no answer within {_PATIENCE_S:g} s")
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
