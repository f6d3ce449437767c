"""Which models have a place elsewhere, and of what kind."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from forecast.store.hub_settings import HubSettings
from forecast.store.mlflow_remote import MlflowRemote
from forecast.store.remote import Remote
from forecast.store.tracking import Tracking
from forecast.store.versions import ModelStore

_REPO = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """Where the copies go.

    Attributes:
        backend: `local` copies nothing.
        repos: for `hf`, model id → `organization/name`; other models are not copied.
        hub: how the hub is reached.
        mlflow_uri: for `mlflow`, the address of the tracking server.
        staging: folder for downloads under way.
    """

    backend: Literal["local", "hf", "mlflow"] = "local"
    repos: Mapping[str, str] = field(default_factory=dict)
    hub: HubSettings = field(default_factory=HubSettings)
    mlflow_uri: str | None = None
    staging: Path = Path(".forecast/cache/incoming")


def remotes_of(
    store: ModelStore, options: RemoteOptions, model_ids: Iterable[str]
) -> dict[str, Remote]:
    """Make the place elsewhere of each model that has one.

    Args:
        model_ids: of the models there are.

    Raises:
        ValueError: what the backend needs is not set, or is not what it should be; says what.
    """
    if options.backend == "mlflow":
        return _on_mlflow(store, options, model_ids)
    return _on_hub(store, options, set(model_ids)) if options.backend == "hf" else {}


def _on_hub(store: ModelStore, options: RemoteOptions, known: set[str]) -> dict[str, Remote]:
    if not options.repos:
        raise ValueError(
            "the storage backend hf needs a repository for at least one model, such as"
            " HF_LSTM_MODEL_REPO=organization/name"
        )
    for model_id, repo in options.repos.items():
        if model_id not in known:
            raise ValueError(f"a repository is set for {model_id}, which is no model")
        if not _REPO.fullmatch(repo):
            raise ValueError(f"the repository of {model_id} must be organization/name")
    # Only now: whoever copies nothing starts without the client of the hub.
    from forecast.store.hub_remote import HubRemote

    return {
        model_id: HubRemote(store.model(model_id), repo, options.hub, options.staging)
        for model_id, repo in options.repos.items()
    }


def _on_mlflow(
    store: ModelStore, options: RemoteOptions, model_ids: Iterable[str]
) -> dict[str, Remote]:
    if urlsplit(options.mlflow_uri or "").scheme not in ("http", "https"):
        raise ValueError("the storage backend mlflow needs an http(s) MLFLOW_TRACKING_URI")
    tracking = Tracking(options.mlflow_uri)
    return {model_id: MlflowRemote(store.model(model_id), tracking) for model_id in model_ids}
