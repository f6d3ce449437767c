"""Is it up, is it well, may it take work. Public, and cheap enough to ask every second."""

import time
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from forecast.api.middleware import Lifecycle
from forecast.api.openapi import problems
from forecast.api.options import ApiOptions
from forecast.api.problems import Problem, respond
from forecast.api.responses import json_response
from forecast.api.schemas import HealthDocument, LiveDocument, ReadyDocument
from forecast.api.states import state_of, states_of
from forecast.serving.hosts import Host


def health_router(
    hosts: Mapping[str, Host], options: ApiOptions, lifecycle: Lifecycle
) -> APIRouter:
    """Build `/health`, `/health/live` and `/health/ready`."""
    router = APIRouter(prefix="/health", tags=["health"])
    started = time.monotonic()

    @router.get("", response_model=HealthDocument, operation_id="health")
    async def health() -> Response:
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

    @router.get("/live", response_model=LiveDocument, operation_id="health_live")
    async def live() -> Response:
        """Say that the process is up; no answer means that it should be restarted."""
        return json_response({"status": "alive"})

    @router.get(
        "/ready",
        response_model=ReadyDocument,
        operation_id="health_ready",
        responses=problems(503),
    )
    async def ready(request: Request) -> Response:
        """Say whether to send work here: the process takes it, and needed models are ready."""
        checks = {"accepting": _check(_draining(lifecycle))}
        for model_id in options.required_models:
            state = await state_of(hosts[model_id])
            checks[f"model:{model_id}"] = _check(_unready(state))
        reasons = [
            f"{name}: {check['reason']}" for name, check in checks.items() if not check["ok"]
        ]
        if reasons:
            return respond(request, _not_ready("; ".join(reasons), checks))
        return json_response({"status": "ready", "checks": checks})

    return router


def _check(reason: str | None) -> dict[str, Any]:
    return {"ok": reason is None, "reason": reason}


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
