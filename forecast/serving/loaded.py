"""A model that answers: its weights, the queue in front of it, and what they have seen."""

import gc
import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from forecast.core.lookahead import Provenance
from forecast.core.times import to_datetime64
from forecast.core.types import Forecast, ForecastTask, Series
from forecast.models.base.model import BaseTimeSeriesModel, BatchKey
from forecast.models.spec import ModelSpec
from forecast.serving.batching import Batcher, Outcome
from forecast.serving.cores import CoreBoard
from forecast.serving.limits import ServingLimits
from forecast.store.holds import Hold
from forecast.store.versions import ModelShelf, Version

log = logging.getLogger(__name__)

_LOADING = threading.Lock()
"""Held around every load of weights in this process.

Model libraries patch torch for all threads while they build a network: another network that is
built meanwhile holds no data.
"""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights on this machine.

    Attributes:
        source: with the version or revision that it really is; None for none.
        path: None for a model without weights.
        version: what they are in the store; None where they are from elsewhere.
        provenance: what they have seen, and what they descend from.
    """

    source: str | None = None
    path: Path | None = None
    sha256: str | None = None
    version: Version | None = None
    provenance: Provenance = Provenance()

    @classmethod
    def stored(cls, version: Version) -> "Weights":
        """Name the weights of a version."""
        provenance = version.metadata.provenance
        return cls(version.source, version.path, version.sha256, version, provenance)

    def is_of(self, version: Version) -> bool:
        """Whether these are the weights of a version, as it is now."""
        mine = self.version
        return mine is not None and (mine.path, mine.manifest) == (version.path, version.manifest)

    def are_those(self, others: "Weights") -> bool:
        """Whether others are the very same, whatever they were asked for as."""
        if others.version is not None:
            return self.is_of(others.version)
        return self == others


class Item(NamedTuple):
    """One series in the queue; its call may make more steps than the `horizon` asked."""

    series: Series
    horizon: int


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model that answers, and the queue in front of it."""

    model: BaseTimeSeriesModel
    batcher: Batcher[BatchKey, Item, Forecast]
    weights: Weights
    config: Mapping[str, Any] = field(default_factory=dict)
    hold: Hold | None = None

    @property
    def cutoff(self) -> np.datetime64 | None:
        """Time of the newest data that the weights have seen; None where it is not known."""
        version = self.weights.version
        told = version.cutoff if version else self.provenance.seen_until
        return None if told is None else to_datetime64(told)

    @property
    def provenance(self) -> Provenance:
        """What the weights have seen, and what they descend from."""
        return self.weights.provenance

    @property
    def version(self) -> str | None:
        """Name of the weights in the store; None where they are from elsewhere."""
        return self.weights.version.name if self.weights.version else None

    def run(
        self, series: Sequence[Series], task: ForecastTask, *, timeout_s: float
    ) -> "Future[Outcome[Forecast]]":
        """Queue one request; the future holds a forecast for each series, in order.

        Raises:
            InvalidRequest: the model cannot do what is asked; says which limit was passed.
            QueueFull: too much waits already.
        """
        for one in series:
            self.model.check(one, task)
        keys = [self.model.batch_key(one, task) for one in series]
        items = [Item(one, task.horizon) for one in series]
        return self.batcher.submit(keys, items, timeout_s=timeout_s)

    def close(self, drain_s: float) -> None:
        """Answer what waits, then give the memory back, and the version to whoever removes it.

        A model that still computes after `drain_s` is not taken from under its thread: another
        thread waits for the end of that call and frees it then.
        """
        if self.batcher.close(drain_s=drain_s):
            self._free()
            return
        log.warning("%s still computes; it is unloaded once that is over", self._name)
        threading.Thread(target=self._free_later, name="unload", daemon=True).start()

    def _free_later(self) -> None:
        self.batcher.join()
        self._free()

    def _free(self) -> None:
        self.model.close()
        if self.hold is not None:
            self.hold.release()
        gc.collect()
        log.info("unloaded %s", self._name)

    @property
    def _name(self) -> str:
        return self.weights.source or self.model.spec.model_id


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads weights of one model, one at a time in the whole process.

    Attributes:
        operator_config: fields of the model's configuration that only the operator sets.
        board: shares the cores with other replicas of the model; None where there are none.
        shelf: the versions of the model; None where none are stored.
    """

    spec: ModelSpec
    limits: ServingLimits
    operator_config: Mapping[str, Any]
    board: CoreBoard | None
    shelf: ModelShelf | None

    def load(self, weights: Weights, config: Mapping[str, Any]) -> LoadedModel:
        """Load weights and open their queue. Blocks until done.

        Args:
            config: fields that win over what the weights were saved with.

        Raises:
            VersionNotFound: the version was removed meanwhile.
            ForecastError: the load failed; says why.
        """
        hold = self._held(weights.version)
        try:
            model = self._model(weights, config)
        except BaseException:
            if hold is not None:
                hold.release()
            raise
        batcher: Batcher[BatchKey, Item, Forecast] = Batcher(
            partial(self._predict, model),
            max_batch=model.config.batch_size,
            max_queue=self.limits.max_queue,
            name=self.spec.model_id,
        )
        log.info("loaded %s from %s", self.spec.model_id, weights.source or "nothing: no weights")
        return LoadedModel(model, batcher, weights, config, hold)

    def _held(self, version: Version | None) -> Hold | None:
        return self.shelf.hold(version) if version and self.shelf else None

    def _model(self, weights: Weights, config: Mapping[str, Any]) -> BaseTimeSeriesModel:
        model_class = self.spec.model_class()
        with nullcontext() if weights.path is None else _LOADING:
            return model_class.load_model(weights.path, **config, **self.operator_config)

    def _predict(
        self, model: BaseTimeSeriesModel, key: BatchKey, items: Sequence[Item]
    ) -> list[Forecast]:
        batch = [item.series for item in items]
        if self.board is None:
            forecasts = model.predict(batch, key.task)
        else:
            with self.board.claim() as cores:
                model.use_cores(cores)
                forecasts = model.predict(batch, key.task)
        pairs = zip(forecasts, items, strict=True)
        return [forecast.first(item.horizon) for forecast, item in pairs]
