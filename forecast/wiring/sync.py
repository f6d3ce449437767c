"""The copies of the store elsewhere."""

from forecast.models import MODEL_REGISTRY
from forecast.settings import Settings
from forecast.store.remotes import RemoteOptions, remotes_of
from forecast.store.sync import StoreSync
from forecast.store.versions import ModelStore


def sync_of(settings: Settings, store: ModelStore) -> StoreSync:
    """Build the copies of the store elsewhere, if there are any.

    Raises:
        ValueError: what the storage backend needs is not set.
    """
    options = RemoteOptions(
        backend=settings.storage_backend,
        repos=settings.model_repos,
        hub=settings.hub,
        mlflow_uri=settings.mlflow_tracking_uri,
        staging=settings.cache / "incoming",
    )
    return StoreSync(store, remotes_of(store, options, MODEL_REGISTRY))
