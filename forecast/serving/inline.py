"""The host that holds its model in this process: what every other kind of host leads to."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import orjson

from forecast.core.errors import ForecastError, ModelBusy
from forecast.data.requests import RequestReader
from forecast.models.spec import ModelSpec
from forecast.serving.hosts import Answer, Call, Operation
from forecast.serving.inference import Inference
from forecast.serving.initialization import read_initialization
from forecast.serving.service import LoadRequest, ModelService, ServiceStatus

log = logging.getLogger(__name__)

_FOLLOW_S = 2.0  # between two looks at what `current` means in the store

Result = TypeVar("Result")


class InlineHost:
    """Loads and unloads one model, tells how it is, and has it forecast."""

    def __init__(self, service: ModelService, reader: RequestReader) -> None:
        self.spec: ModelSpec = service.spec
        self._service = service
        self._reader = reader
        self._threads = ThreadPoolExecutor(4, thread_name_prefix=f"{self.spec.model_id}-host")
        self._inference = Inference(service, reader, self._threads)
        self._loading: asyncio.Task[ServiceStatus] | None = None
        self._own_load: asyncio.Task[Any] | None = None
        self._following: asyncio.Task[None] | None = None
        self._operations = {
            Operation.INITIALIZATION: self._initialize,
            Operation.STATUS: self._status,
            Operation.INFERENCE: self._infer,
            Operation.SHUTDOWN: self._shutdown,
        }

    async def start(self) -> None:
        """Begin to load a model that is ready at once, and to follow what is trained of it."""
        if self.spec.is_ready_at_once:
            self._own_load = self._load_in_background(LoadRequest(config={"device": "auto"}))
        if self.spec.weights is not None or not self.spec.is_ready_at_once:
            self._following = asyncio.create_task(self._follow())

    async def call(self, call: Call) -> Answer:
        """Answer one call.

        Raises:
            ForecastError: what the caller is to be told.
        """
        return await self._operations[call.operation](call)

    async def close(self) -> None:
        """Answer what waits, then unload; a load that is under way ends first, if it does soon."""
        if self._following is not None:
            self._following.cancel()
        loads = {load for load in (self._loading, self._own_load) if load is not None}
        if loads:
            await asyncio.wait(loads, timeout=self._service.limits.shutdown_s)
        try:
            await self._in_thread(self._service.shutdown_model)
        except ModelBusy:
            log.warning("%s is still being loaded; that ends with the process", self.spec.model_id)
        self._threads.shutdown(wait=False)

    async def _initialize(self, call: Call) -> Answer:
        request = read_initialization(call.body)
        load = LoadRequest(
            source=request.named_source(),
            config=request.config_for(self.spec),
            accept_license=request.accept_license,
        )
        if self._own_load is not None:  # a caller never collides with what we began ourselves
            await asyncio.wait([self._own_load])
        loading = self._load_in_background(load)
        if not request.wait:
            return self._described(202, "initialization started")
        await asyncio.shield(loading)
        return self._described(200, "the model is ready")

    def _load_in_background(self, load: LoadRequest) -> asyncio.Task[ServiceStatus]:
        """Load in a thread; the status tells how it went to whoever does not wait."""
        task = asyncio.ensure_future(self._in_thread(self._service.begin_initialization(load)))
        task.add_done_callback(_log_failure)
        self._loading = task
        return task

    async def _follow(self) -> None:
        """Load what becomes `current` in the store, whoever promoted it, wherever."""
        told = ""
        if self._own_load is not None:
            await asyncio.wait([self._own_load])
        while True:
            await asyncio.sleep(_FOLLOW_S)
            self._own_load = asyncio.ensure_future(self._in_thread(self._service.follow_current))
            try:
                await asyncio.shield(self._own_load)  # `close` cancels this, and waits for the load
            except ModelBusy:
                continue
            except Exception as error:  # noqa: BLE001 -- whatever it was, it is tried again
                if told != str(error):
                    _warn("the current version was not loaded", error)
                told = str(error)

    async def _status(self, call: Call) -> Answer:  # noqa: ARG002 -- one signature for all
        return Answer(200, orjson.dumps(_status_document(self._service.get_status())))

    async def _shutdown(self, call: Call) -> Answer:  # noqa: ARG002 -- one signature for all
        await self._in_thread(self._service.shutdown_model)
        return self._described(200, "the model is unloaded")

    async def _infer(self, call: Call) -> Answer:
        if self._loading is not None and not self._service.can_answer:
            delay = f"{self.spec.model_id} was still being loaded"
            await call.within(asyncio.wait([self._loading]), delay)
        return await self._inference.answer(call)

    def _described(self, code: int, message: str) -> Answer:
        document = {
            "message": message,
            "model_status": self._service.get_status().state,
            "model_info": {
                **self._service.get_model_config(),
                "source": self._service.get_model_source_info(),
            },
        }
        return Answer(code, orjson.dumps(document))

    async def _in_thread(self, function: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _status_document(status: ServiceStatus) -> dict[str, Any]:
    return {
        "model_status": status.state,
        "details": status.details,
        "source": status.source,
        "version": status.version,
        "device": status.device,
        "loaded_at": status.loaded_at,
    }


def _log_failure(task: asyncio.Task[ServiceStatus]) -> None:
    """Log a failed load, also where nobody waits for it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _warn("initialization failed", error)


def _warn(event: str, error: BaseException) -> None:
    is_expected = isinstance(error, (ForecastError, OSError))
    log.warning("%s: %s", event, error, exc_info=None if is_expected else error)
