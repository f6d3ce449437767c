"""Is it up, is it well, may it take work. Public, and cheap enough to ask every second."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Protocol

from fastapi import APIRouter, Request, Response

from forecast.api.middleware import Lifecycle
from forecast.api.openapi import problems
from forecast.api.options import ApiOptions
from forecast.api.problems import Problem, respond
from forecast.api.responses import json_response
from forecast.api.schemas import HealthDocument, LiveDocument, ReadyDocument
from forecast.api.states import states_of
from forecast.core.errors import ForecastError
from forecast.serving.hosts import Host

ReadyCheck = Callable[[], Awaitable[Mapping[str, str | None]]]
"""Tells of each thing that it looks at why that is not ready; None where it is."""

_PATIENCE_S = 3.0


class _Jobs(Protocol):
    async def health(self) -> dict[str, Any]: ...


def check_of_jobs(jobs: _Jobs, *, needs_worker: bool = True) -> ReadyCheck:
    """Look at the database of the jobs, and whether a worker lives to take them up.

    Args:
        needs_worker: false where workers are none of this gateway's: it forecasts without any.
    """

    async def check() -> dict[str, str | None]:
        health = await jobs.health()
        found: dict[str, str | None] = {"database": health["database"]}
        if needs_worker:
            is_known = health["database"] is None
            lacking = None if health["workers"] else "no worker is alive"
            found["worker"] = lacking if is_known else "not known without the database"
        return found

    return check


def check_of_store(root: Path) -> ReadyCheck:
    """Look whether a version could be written; `root` is the folder of the store."""

    def write() -> str | None:
        try:
            root.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=root) as file:
                file.write(b"ready")
        except OSError as error:
            return f"it cannot be written: {(error.strerror or 'unknown reason').lower()}"
        return None

    async def check() -> dict[str, str | None]:
        return {"store": await asyncio.to_thread(write)}

    return check


def health_router(
    hosts: Mapping[str, Host],
    options: ApiOptions,
    lifecycle: Lifecycle,
    checks: Mapping[str, ReadyCheck],
) -> APIRouter:
    """Build `/health`, `/health/live` and `/health/ready`.

    Args:
        checks: what else must be ready, by a name for where it cannot be asked.
    """
    router = APIRouter(prefix="/health", tags=["health"])
    started = time.monotonic()

    @router.get("", response_model=HealthDocument)
    async def check_health() -> Response:
        """Tell how every model is. A model that is not loaded is well; one in error is not."""
        states = await states_of(hosts)
        failed = any(state["model_status"] == "error" for state in states.values())
        return json_response(
            {
                "status": "degraded" if failed else "healthy",
                "version": options.version,
                "uptime_s": round(time.monotonic() - started, 3),
                "models": {
                    model_id: {key: state[key] for key in ("model_status", "details")}
                    for model_id, state in states.items()
                },
            }
        )

    @router.get("/live", response_model=LiveDocument)
    async def check_liveness() -> Response:
        """Say that the process is up; no answer means that it should be restarted."""
        return json_response({"status": "alive"})

    @router.get(
        "/ready",
        response_model=ReadyDocument,
        responses=problems(503),
    )
    async def check_readiness(request: Request) -> Response:
        """Say whether to send work here: database, store, worker and needed models are ready."""
        required = {model_id: hosts[model_id] for model_id in options.required_models}
        states, others = await asyncio.gather(states_of(required), _reasons(checks))
        reasons = {"accepting": _draining(lifecycle), **others}
        reasons |= {f"model:{model_id}": _unready(state) for model_id, state in states.items()}
        found = {name: {"ok": why is None, "reason": why} for name, why in reasons.items()}
        failed = [f"{name}: {why}" for name, why in reasons.items() if why is not None]
        if failed:
            return respond(request, _not_ready("; ".join(failed), found))
        return json_response({"status": "ready", "checks": found})

    return router


async def _reasons(checks: Mapping[str, ReadyCheck]) -> dict[str, str | None]:
    """Ask all at the same time, none for long."""
    answers = await asyncio.gather(*(_asked(name, check) for name, check in checks.items()))
    return {name: reason for answer in answers for name, reason in answer.items()}


async def _asked(name: str, check: ReadyCheck) -> Mapping[str, str | None]:
    try:
        return await asyncio.wait_for(check(), _PATIENCE_S)
    except TimeoutError:
        return {name: f"no answer within {_PATIENCE_S:g} s"}
    except ForecastError as error:
        return {name: error.detail}


def _draining(lifecycle: Lifecycle) -> str | None:
    return "the server is shutting down" if lifecycle.draining else None


def _unready(state: Mapping[str, Any]) -> str | None:
    status = state["model_status"]
    return None if status == "ready" else f"{status} ({state['details'] or 'not loaded'})"


def _not_ready(detail: str, checks: dict[str, Any]) -> Problem:
    return Problem(
        503,
        "not_ready",
        "Not ready",
        detail,
        headers={"Retry-After": "2"},
        more={"checks": checks},
    )
