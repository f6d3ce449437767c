"""The life of one model in this process: uninitialized, initializing, ready, error."""

import gc
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any

from forecast.core.errors import (
    Forbidden,
    ForecastError,
    InvalidRequest,
    LicenseNotAccepted,
    ModelBusy,
    ModelNotReady,
)
from forecast.core.types import Forecast, ForecastTask, Series
from forecast.models.base.model import BaseTimeSeriesModel, BatchKey
from forecast.models.spec import ModelSpec
from forecast.serving.batching import Batcher, Outcome
from forecast.serving.cores import CoreBoard
from forecast.store.sources import ResolvedSource, SourceResolver

log = logging.getLogger(__name__)

_REFUSALS = (Forbidden, InvalidRequest, LicenseNotAccepted)  # nothing was tried


class ModelState(StrEnum):
    UNINITIALIZED = "uninitialized"
    INITIALIZING = "initializing"
    READY = "ready"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A snapshot of a service, never edited.

    Attributes:
        details: why it is so, in words for the caller.
    """

    state: ModelState = ModelState.UNINITIALIZED
    details: str | None = None
    source: str | None = None
    sha256: str | None = None
    device: str | None = None
    loaded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Which weights to load and how. Equal requests load the same thing.

    Attributes:
        source: as the store reads it; None for a model without weights.
        config: fields of the model's configuration that differ from the default.
    """

    source: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    accept_license: bool = False


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may wait for one model.

    Attributes:
        max_queue: series that may wait.
        drain_s: how long a shutdown lets what waits be answered.
    """

    max_queue: int = 4096
    drain_s: float = 30.0


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model that answers, and the queue in front of it."""

    model: BaseTimeSeriesModel
    batcher: Batcher[BatchKey, Series, Forecast]
    request: LoadRequest


class ModelService:
    """Holds one model. The same class for every model.

    One lock, held only by who changes the state; readers see immutable snapshots. Other
    weights loaded over loaded ones replace them once they are ready: until then, and if they
    fail, the old ones answer.

    Safe to call from any thread.
    """

    def __init__(
        self,
        spec: ModelSpec,
        sources: SourceResolver,
        limits: QueueLimits | None = None,
        *,
        accept_license: bool = False,
        operator_config: Mapping[str, Any] | None = None,
        board: CoreBoard | None = None,
    ) -> None:
        """Hold nothing yet.

        Args:
            board: shares the cores with other replicas of the model; None where there are none.
            operator_config: fields of the model's configuration that only the operator sets.
        """
        self.spec = spec
        self._operator_config = dict(operator_config or {})
        self._sources = sources
        self._board = board
        self._limits = limits or QueueLimits()
        self._accept_license = accept_license
        self._changing = threading.Lock()
        self._status = ServiceStatus()
        self._loaded: _Loaded | None = None

    def initialize_model(self, request: LoadRequest) -> ServiceStatus:
        """Load the weights, unless these very ones are loaded already. Blocks until done.

        Raises:
            ModelBusy: another call is changing this model.
            ForecastError: the load failed; the status keeps the reason.
        """
        return self.begin_initialization(request)()

    def begin_initialization(self, request: LoadRequest) -> Callable[[], ServiceStatus]:
        """Turn the status to `initializing`, and return the call that does the work.

        Raises:
            ModelBusy: another call is changing this model.
        """
        self._begin_change()
        if self._loaded is not None and self._loaded.request == request:
            self._changing.release()
            return self.get_status
        before = self._status
        self._status = replace(before, state=ModelState.INITIALIZING, details="loading the weights")
        return partial(self._finish_initialization, request, before)

    def _finish_initialization(self, request: LoadRequest, before: ServiceStatus) -> ServiceStatus:
        try:
            old = self._replace(request)
        except Exception as error:
            self._status = self._failed(before, error)
            raise
        finally:
            self._changing.release()
        if old is not None:  # nobody has to wait for what is over
            self._unload(old)
        return self._status

    def _begin_change(self) -> None:
        if not self._changing.acquire(blocking=False):
            raise ModelBusy(f"{self.spec.model_id} is being loaded or shut down; try again later")

    def get_status(self) -> ServiceStatus:
        """Tell whether the model can answer."""
        return self._status

    def get_model_config(self) -> dict[str, Any]:
        """Show the options the model was loaded with; empty before that."""
        return self._loaded.model.model_info if self._loaded else {}

    def get_model_source_info(self) -> str | None:
        """Name the source of the loaded weights, with the revision that was used."""
        return self._status.source

    @property
    def default_horizon(self) -> int | None:
        """The horizon of a request that names none."""
        return self._loaded.model.config.horizon if self._loaded else None

    @property
    def can_answer(self) -> bool:
        """Whether weights are loaded, also while others are on their way to replace them."""
        return self._loaded is not None

    def run_inference(
        self, series: Sequence[Series], task: ForecastTask, *, timeout_s: float
    ) -> "Future[Outcome[Forecast]]":
        """Queue one request; the future holds a forecast for each series, in order.

        Raises:
            ModelNotReady: no weights are loaded; says how to load them.
            InvalidRequest: the model cannot do what is asked; says which limit was passed.
            QueueFull: too much waits already.
        """
        loaded = self._ready()
        for one in series:
            loaded.model.check(one, task)
        keys = [loaded.model.batch_key(one, task) for one in series]
        return loaded.batcher.submit(keys, series, timeout_s=timeout_s)

    def shutdown_model(self) -> ServiceStatus:
        """Answer what waits, then unload the weights. Blocks until done.

        Raises:
            ModelBusy: another call is changing this model.
        """
        self._begin_change()
        try:
            loaded, self._loaded = self._loaded, None
            self._status = ServiceStatus()
            if loaded is not None:
                self._unload(loaded)
            return self._status
        finally:
            self._changing.release()

    def _ready(self) -> _Loaded:
        loaded = self._loaded
        if loaded is None:
            status = self._status
            reason = f" ({status.details})" if status.details else ""
            raise ModelNotReady(
                f"{self.spec.model_id} is {status.state}{reason};"
                f" load it with POST /forecast/v1/{self.spec.model_id}/initialization"
            )
        return loaded

    def _replace(self, request: LoadRequest) -> _Loaded | None:
        """Load, and give what was loaded before."""
        self._check_license(request)
        loaded, resolved = self._load(request)
        old, self._loaded = self._loaded, loaded
        self._status = _ready_status(loaded, resolved)
        source = self._status.source or "nothing: no weights"
        log.info("loaded %s from %s", self.spec.model_id, source)
        return old

    def _failed(self, before: ServiceStatus, error: Exception) -> ServiceStatus:
        """Say why; a refused request, or weights that still serve, leave the state as it was."""
        is_known = isinstance(error, ForecastError)
        reason = str(error) if is_known else "loading failed; the log says why"
        if self._loaded is not None or isinstance(error, _REFUSALS):
            return replace(before, details=f"the last request to load was not met: {reason}")
        return ServiceStatus(ModelState.ERROR, reason)

    def _check_license(self, request: LoadRequest) -> None:
        terms = self.spec.license
        if terms.commercial_use:
            return
        if request.accept_license or self._accept_license:
            who = "the request" if request.accept_license else "the setting"
            log.info("%s accepted the license %s of %s", who, terms.id, self.spec.model_id)
            return
        raise LicenseNotAccepted(
            f"the weights of {self.spec.model_id} are licensed under {terms.id}, which forbids"
            " commercial use; send accept_license: true if that suits you"
        )

    def _load(self, request: LoadRequest) -> tuple[_Loaded, ResolvedSource | None]:
        if request.source is None and self.spec.needs_training:
            raise InvalidRequest.field(
                "/source",
                f"{self.spec.model_id} has to be trained first and has no default weights; name"
                " trained ones",
            )
        model_class = self.spec.model_class()
        resolved = None
        if request.source is not None:
            resolved = self._sources.resolve(request.source, model_id=self.spec.model_id)
        model = model_class.load_model(
            resolved.path if resolved else None, **request.config, **self._operator_config
        )
        batcher: Batcher[BatchKey, Series, Forecast] = Batcher(
            partial(self._predict, model),
            max_batch=model.config.batch_size,
            max_queue=self._limits.max_queue,
            name=self.spec.model_id,
        )
        return _Loaded(model, batcher, request), resolved

    def _predict(
        self, model: BaseTimeSeriesModel, key: BatchKey, batch: Sequence[Series]
    ) -> list[Forecast]:
        if self._board is None:
            return model.predict(batch, key.task)
        with self._board.claim() as cores:
            model.use_cores(cores)
            return model.predict(batch, key.task)

    def _unload(self, loaded: _Loaded) -> None:
        loaded.batcher.close(drain_s=self._limits.drain_s)
        loaded.model.close()
        gc.collect()
        log.info("unloaded %s", self.spec.model_id)


def _ready_status(loaded: _Loaded, resolved: ResolvedSource | None) -> ServiceStatus:
    return ServiceStatus(
        state=ModelState.READY,
        source=resolved.source if resolved else None,
        sha256=resolved.sha256 if resolved else None,
        device=loaded.model.device,
        loaded_at=datetime.now(UTC),
    )
