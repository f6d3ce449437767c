"""The store: the versions and snapshots of every model."""

from threading import Lock

from forecast.store.catalog import Version
from forecast.store.config import StoreConfig
from forecast.store.layout import Layout
from forecast.store.names import checked_model_id
from forecast.store.shelf import ModelShelf

__all__ = ["ModelShelf", "ModelStore", "Version"]


class ModelStore:
    """The versions of every model. Cheap to make; safe to use from several processes.

    Attributes:
        config: where and how versions are kept.
    """

    def __init__(self, config: StoreConfig) -> None:
        self.config = config
        self._shelves: dict[str, ModelShelf] = {}
        self._making = Lock()

    def model(self, model_id: str) -> ModelShelf:
        """Give the shelf of a model; nothing is read or made yet.

        Raises:
            InvalidRequest: this is no id of a model.
        """
        with self._making:
            if model_id not in self._shelves:
                layout = Layout(self.config, checked_model_id(model_id))
                self._shelves[model_id] = ModelShelf(layout)
            return self._shelves[model_id]
