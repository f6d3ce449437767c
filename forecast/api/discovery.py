"""What is here: the root, the features and limits, the registry."""

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, Response

from forecast.api.openapi import problems
from forecast.api.options import ApiOptions
from forecast.api.responses import json_response
from forecast.api.schemas import InfoDocument, ModelsDocument, RegistryDocument, RootDocument
from forecast.api.states import states_of
from forecast.serving.hosts import Host

NAME = "forecast"
_FEATURES = [
    "batched inference",
    "quantiles",
    "covariates",
    "tables and file uploads",
    "named files and URLs",
    "fallback models",
]
TRAINING_FEATURES = (
    "durable training jobs",
    "job events as server-sent events",
    "yearly snapshots",
    "backtests",
    "named datasets",
)
STORE_FEATURES = ("versions", "aliases with a history", "forecasts as of a date")
_FORMATS = {
    "request": ["json", "csv", "parquet", "arrow", "xlsx"],
    "response": ["json", "csv", "arrow"],
}


def discovery_router(
    hosts: Mapping[str, Host], options: ApiOptions, more_features: Sequence[str] = ()
) -> APIRouter:
    """Build `/`, `/info`, `/models` (public) and `/forecast/v1/models`.

    Args:
        more_features: that not every deployment has.
    """
    router = APIRouter(tags=["discovery"])

    @router.get("/", response_model=RootDocument)
    async def get_links() -> Response:
        """Say what this is and where to go from here."""
        return json_response({"name": NAME, "version": options.version, "links": _links(options)})

    @router.get("/info", response_model=InfoDocument)
    async def get_info() -> Response:
        """Tell features, limits and formats."""
        limits = {"max_body_bytes": options.max_body_bytes, **options.limits}
        return json_response(
            {
                "name": NAME,
                "version": options.version,
                "features": [*_FEATURES, *more_features],
                "limits": limits,
                "formats": _FORMATS,
            }
        )

    @router.get("/models", response_model=RegistryDocument)
    async def list_registry() -> Response:
        """List the models served here, what each can do and under which license."""
        entries = {model_id: host.spec.info for model_id, host in hosts.items()}
        return json_response({"models": entries, "count": len(entries)})

    @router.get("/forecast/v1/models", response_model=ModelsDocument, responses=problems(401))
    async def list_models() -> Response:
        """List the models with their state, and the aliases that `model` may take."""
        states = await states_of(hosts)
        entries = {
            model_id: {"id": model_id, **host.spec.info, "state": states[model_id]}
            for model_id, host in hosts.items()
        }
        return json_response(
            {"models": entries, "aliases": dict(options.aliases), "count": len(entries)}
        )

    return router


def _links(options: ApiOptions) -> dict[str, str]:
    links = {"models": "/models", "health": "/health", "info": "/info"}
    if options.docs:
        links |= {"docs": "/docs", "openapi": "/openapi.json"}
    return links
