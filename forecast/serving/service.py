"""The life of one model in this process: uninitialized, initializing, ready, error."""

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
from forecast.data.parameters import Wanted
from forecast.models.spec import ModelSpec
from forecast.serving.as_of import Active, Choice, choose
from forecast.serving.batching import Outcome
from forecast.serving.cores import CoreBoard
from forecast.serving.limits import ServingLimits
from forecast.serving.loaded import LoadedModel, Loader, Weights
from forecast.serving.provenance import provenance_of
from forecast.serving.versions import Lease, LoadedVersions
from forecast.store.sources import SourceResolver
from forecast.store.versions import Version

log = logging.getLogger(__name__)

CURRENT = "current"
STORE = "store:"

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
        version: name of the weights in the store; None where they are from elsewhere.
    """

    state: ModelState = ModelState.UNINITIALIZED
    details: str | None = None
    source: str | None = None
    version: str | None = None
    device: str | None = None
    loaded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Which weights to load and how. Equal requests load the same thing.

    Attributes:
        source: as the store reads it; None for the version that is `current` in the store, or
            the weights of the spec where there is none.
        config: fields of the model's configuration that differ from the default.
    """

    source: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    accept_license: bool = False


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
        limits: ServingLimits | None = None,
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
        self._sources = sources
        self._accept_license = accept_license
        shelf = sources.store.model(spec.model_id) if sources.store else None
        self.limits = limits or ServingLimits()
        self._loader = Loader(spec, self.limits, dict(operator_config or {}), board, shelf)
        self._versions = LoadedVersions(self._load_version, self.limits)
        self._changing = threading.Lock()
        self._status = ServiceStatus()
        self._loaded: LoadedModel | None = None
        self._request: LoadRequest | None = None

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
        is_loaded = self._loaded is not None and self._request == request
        if is_loaded and not self._may_have_moved(request):
            self._changing.release()
            return self.get_status
        before = self._status
        self._status = replace(before, state=ModelState.INITIALIZING, details="loading the weights")
        return partial(self._finish_initialization, request, before)

    def _may_have_moved(self, request: LoadRequest) -> bool:
        """Whether the same source may mean other weights by now."""
        if request.source is None:
            return self._loader.shelf is not None
        return request.source.startswith(STORE)

    def _finish_initialization(self, request: LoadRequest, before: ServiceStatus) -> ServiceStatus:
        try:
            old = self._replace(request, before)
        except Exception as error:
            self._status = self._failed(before, error)
            raise
        finally:
            self._changing.release()
        if old is not None:  # nobody has to wait for what is over
            old.close(self.limits.shutdown_s)
        return self._status

    def _begin_change(self) -> None:
        if not self._changing.acquire(blocking=False):
            raise ModelBusy(f"{self.spec.model_id} is being loaded or shut down; try again later")

    def follow_current(self) -> None:
        """Load what `current` means by now, where that is what was asked for. Blocks.

        Raises:
            ModelBusy: another call is changing this model.
            ForecastError: it cannot be loaded; the weights that are loaded still answer.
        """
        request, shelf = self._request, self._loader.shelf
        if request is None or shelf is None or request.source not in (None, f"{STORE}{CURRENT}"):
            return
        current = shelf.aliases.get(CURRENT)
        if current not in (None, self._status.version):
            self.initialize_model(request)

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

    @property
    def loaded_versions(self) -> list[str]:
        """Names of the versions that are loaded beside the active one."""
        return self._versions.names

    def run_inference(
        self, series: Sequence[Series], task: ForecastTask, *, timeout_s: float
    ) -> "Future[Outcome[Forecast]]":
        """Queue one request for the active weights; the future holds a forecast for each series.

        Raises:
            ModelNotReady: no weights are loaded; says how to load them.
            InvalidRequest: the model cannot do what is asked; says which limit was passed.
            QueueFull: too much waits already.
        """
        return self.active().run(series, task, timeout_s=timeout_s)

    def choose(self, wanted: Wanted) -> Choice:
        """Choose what answers a request that names a version or a date. Reads the store.

        Raises:
            ModelNotReady: the model is not loaded; says how to load it.
            VersionNotFound, VersionDamaged: there is no such version, or it is not as written.
            LooksAhead: it has seen what came after that date, or may have.
        """
        active = self.active()
        known = Active(active.version, active.provenance)
        choice = choose(wanted, self.spec, self._loader.shelf, known)
        if choice.version and active.weights.is_of(choice.version):
            return replace(choice, version=None)
        return choice

    def lease(self, version: Version) -> Lease:
        """Borrow a version of the store, loaded as the active weights were. Does not block.

        Raises:
            Draining: the model is being shut down.
        """
        return self._versions.lease(version)

    def shutdown_model(self) -> ServiceStatus:
        """Answer what waits, then unload all weights. Blocks until done.

        Raises:
            ModelBusy: another call is changing this model.
        """
        self._begin_change()
        try:
            loaded, self._loaded, self._request = self._loaded, None, None
            self._status = ServiceStatus()
            self._versions.close()
            if loaded is not None:
                loaded.close(self.limits.shutdown_s)
            return self._status
        finally:
            self._changing.release()

    def active(self) -> LoadedModel:
        """Give the weights that answer by default.

        Raises:
            ModelNotReady: none are loaded; says how to load them.
        """
        loaded = self._loaded
        if loaded is None:
            status = self._status
            reason = f" ({status.details})" if status.details else ""
            raise ModelNotReady(
                f"{self.spec.model_id} is {status.state}{reason};"
                f" load it with POST /forecast/v1/{self.spec.model_id}/initialization"
            )
        return loaded

    def _replace(self, request: LoadRequest, before: ServiceStatus) -> LoadedModel | None:
        """Load, and give what was loaded before; neither where these very weights are."""
        self._check_license(request)
        weights = self._weights(request.source)
        old = self._loaded
        if old and old.config == request.config and old.weights.are_those(weights):
            self._request = request
            self._status = replace(before, details=None)
            return None
        loaded = self._loader.load(weights, request.config)
        self._loaded, self._request = loaded, request
        self._status = _ready_status(loaded)
        if old and old.config != request.config:
            self._versions.clear()
        self._versions.open()
        return old

    def _weights(self, source: str | None) -> Weights:
        """Find weights and bring them here.

        Raises:
            InvalidRequest: none are named, and the model has to be trained first.
            MissingLibrary: the model cannot be loaded here, whatever its weights.
            ForecastError: there are none of that name, or they cannot be had.
        """
        self.spec.model_class()
        shelf = self._loader.shelf
        if source is None and shelf is not None and shelf.aliases.get(CURRENT):
            source = f"{STORE}{CURRENT}"
        source = source or self.spec.weights
        if source is None and self.spec.needs_training:
            raise InvalidRequest.field(
                "/source",
                f"{self.spec.model_id} has to be trained first and has no default weights; name"
                " trained ones",
            )
        if source is None:
            return Weights(provenance=provenance_of(self.spec, None))
        if source.startswith(STORE) and shelf is not None:
            return Weights.stored(shelf.get(source.removeprefix(STORE)))
        resolved = self._sources.resolve(source, model_id=self.spec.model_id)
        provenance = provenance_of(self.spec, resolved)
        return Weights(resolved.source, resolved.path, resolved.sha256, provenance=provenance)

    def _load_version(self, version: Version) -> LoadedModel:
        return self._loader.load(Weights.stored(version), self.active().config)

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


def _ready_status(loaded: LoadedModel) -> ServiceStatus:
    return ServiceStatus(
        state=ModelState.READY,
        source=loaded.weights.source,
        version=loaded.version,
        device=loaded.model.device,
        loaded_at=datetime.now(UTC),
    )
