"""Hosts in other processes: children of this one, watched and restarted, and remote ones."""

import asyncio
import logging
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import orjson

from forecast.core.errors import ForecastError, HostUnavailable, ModelBusy, ModelNotReady
from forecast.models.spec import ModelSpec
from forecast.serving.hosts import Answer, Call, Operation

log = logging.getLogger(__name__)

_KEPT_HEADERS = ("Retry-After",)
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class ChildOptions:
    """How the children of a gateway are run.

    Attributes:
        python: the interpreter, of the model's own environment where it has one.
        replicas: processes that hold the same model; requests go to the one with the fewest.
        threads: of each process's numeric libraries; replicas × threads ≤ cores.
        environment: of the child, whole; limits on threads are added to it.
        start_s: how long a child may take until it listens.
        stop_s: how long a child may take to answer what waits before it is killed.
        restart_pause_s: before the first restart after a crash; doubles up to
            `longest_pause_s`, and starts over once a child has lived that long.
        max_connections: requests that may be with one child at a time.
        max_call_s: the longest a call may take.
    """

    python: str
    replicas: int = 1
    threads: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    start_s: float = 120.0
    stop_s: float = 40.0
    restart_pause_s: float = 0.5
    longest_pause_s: float = 30.0
    max_connections: int = 1024
    max_call_s: float = 900.0


class Channel:
    """Passes calls on to a host over HTTP, bytes in and bytes out."""

    def __init__(
        self,
        model_id: str,
        base_url: str,
        *,
        connector: aiohttp.BaseConnector,
        max_call_s: float,
        api_key: str | None = None,
    ) -> None:
        self._model_id = model_id
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=max_call_s, sock_connect=5.0),
            auto_decompress=True,
        )
        self.outstanding = 0

    async def forward(self, call: Call) -> Answer:
        """Send a call; errors of the host come back as its answer.

        Raises:
            HostUnavailable: nobody listens, or the host went away while it answered.
        """
        url = f"{self._base_url}/forecast/v1/{self._model_id}/{call.operation}"
        method = "GET" if call.operation is Operation.STATUS else "POST"
        headers = {
            "Content-Type": call.content_type,
            "Accept": call.accept,
            "X-Request-ID": call.request_id,
            **self._headers,
        }
        self.outstanding += 1
        try:
            async with self._session.request(
                method, url, data=call.body or None, headers=headers, allow_redirects=False
            ) as response:
                return Answer(
                    response.status,
                    await response.read(),
                    response.headers.get("Content-Type", "application/json"),
                    {
                        name: response.headers[name]
                        for name in _KEPT_HEADERS
                        if name in response.headers
                    },
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise HostUnavailable(
                f"the host of {self._model_id} does not answer; try again in a moment",
                retry_after_s=1.0,
            ) from error
        finally:
            self.outstanding -= 1

    async def is_alive(self) -> bool:
        """Whether the host listens."""
        try:
            async with self._session.get(f"{self._base_url}/health/live") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def close(self) -> None:
        await self._session.close()


class RemoteHost:
    """A host on another machine or in a container, at a base URL."""

    def __init__(
        self, spec: ModelSpec, base_url: str, *, api_key: str | None, max_call_s: float = 900.0
    ) -> None:
        self.spec = spec
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._max_call_s = max_call_s
        self._channel: Channel | None = None

    async def start(self) -> None:
        """Open the connections; the remote machine looks after its own model."""
        self._channel = Channel(
            self.spec.model_id,
            self._base_url,
            connector=aiohttp.TCPConnector(limit=1024),
            max_call_s=self._max_call_s,
            api_key=self._api_key,
        )

    async def call(self, call: Call) -> Answer:
        """Answer one call.

        Raises:
            HostUnavailable: the machine does not answer.
        """
        if self._channel is None:
            raise HostUnavailable(f"the host of {self.spec.model_id} is not started")
        return await self._channel.forward(call)

    async def close(self) -> None:
        """Close the connections; the remote machine goes on."""
        if self._channel is not None:
            await self._channel.close()


class _Child:
    """One process that holds the model: started, watched, and restarted after a crash."""

    def __init__(self, spec: ModelSpec, socket: Path, options: ChildOptions) -> None:
        self._spec = spec
        self._socket = socket
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self._ended = asyncio.Event()
        self._initialization: Call | None = None
        self.channel = Channel(
            spec.model_id,
            "http://host",
            connector=aiohttp.UnixConnector(str(socket), limit=options.max_connections),
            max_call_s=options.max_call_s,
        )

    @property
    def is_up(self) -> bool:
        return self._started.is_set()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the process, and wait until it listens.

        Raises:
            HostUnavailable: it ended, or did not listen in time.
        """
        if self._watch is None or self._watch.done():
            self._ended.clear()
            self._watch = asyncio.create_task(self._keep_running())
        waiting = [asyncio.create_task(event.wait()) for event in (self._started, self._ended)]
        await asyncio.wait(
            {*waiting, self._watch},
            timeout=self._options.start_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in waiting:
            task.cancel()
        if not self.is_up:
            raise HostUnavailable(
                f"the host of {self._spec.model_id} did not start; the gateway's log says why",
                retry_after_s=5.0,
            )

    async def initialize(self, call: Call) -> Answer:
        """Load the model; a restart after a crash loads it the same way."""
        try:
            await self.start()
        except HostUnavailable:
            await self.stop()
            raise
        answer = await self.channel.forward(call)
        if answer.status < 300:
            self._initialization = call
        return answer

    async def stop(self) -> None:
        """End the process, gently and then not."""
        self._initialization = None
        self._started.clear()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None

    async def close(self) -> None:
        await self.stop()
        await self.channel.close()

    async def _keep_running(self) -> None:
        pause = self._options.restart_pause_s
        while True:
            started = time.monotonic()
            await self._run_once()
            if time.monotonic() - started > self._options.longest_pause_s:
                pause = self._options.restart_pause_s
            log.error("the host of %s ended; restart in %.1f s", self._spec.model_id, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._options.longest_pause_s)

    async def _run_once(self) -> None:
        """Run the process until it ends or this task is cancelled."""
        self._process = await self._spawn()
        try:
            if await self._listens():
                await self._load_again()
                self._started.set()
            await self._process.wait()
        finally:
            self._started.clear()
            self._ended.set()
            await self._end()

    async def _spawn(self) -> asyncio.subprocess.Process:
        self._socket.unlink(missing_ok=True)
        self._ended.clear()
        return await asyncio.create_subprocess_exec(
            self._options.python,
            "-m",
            "forecast.host",
            self._spec.model_id,
            "--socket",
            str(self._socket),
            "--exit-with-parent",
            stdin=asyncio.subprocess.PIPE,
            env={**self._options.environment, **_thread_limits(self._options.threads)},
        )

    async def _listens(self) -> bool:
        """Wait until the process listens; False where it ended first."""
        assert self._process is not None
        while self._process.returncode is None:
            if self._socket.exists() and await self.channel.is_alive():
                return True
            await asyncio.sleep(_POLL_S)
        return False

    async def _load_again(self) -> None:
        if self._initialization is None:
            return
        try:
            answer = await self.channel.forward(self._initialization)
        except ForecastError as error:
            log.error("%s could not be loaded again: %s", self._spec.model_id, error)  # noqa: TRY400
            return
        if answer.status >= 300:
            log.error("%s could not be loaded again", self._spec.model_id)

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self._options.stop_s)
        except TimeoutError:
            process.kill()
            await process.wait()


class ChildHost:
    """Children of this process that hold one model, each on a Unix socket of its own.

    They start with the first initialization, or at once for a model without weights, and
    end with the shutdown: the memory goes back to the machine.
    """

    def __init__(self, spec: ModelSpec, options: ChildOptions) -> None:
        self.spec = spec
        self._options = options
        self._folder: Path | None = None
        self._children: Sequence[_Child] = ()
        self._background: asyncio.Task[None] | None = None
        self._is_wanted = spec.weights is None
        self._is_initializing = False

    @property
    def pids(self) -> list[int]:
        """Process ids of the children that run."""
        return [child.pid for child in self._children if child.is_up and child.pid is not None]

    async def start(self) -> None:
        """Make ready; children of a model without weights start in the background."""
        # A short path of our own: a Unix socket's may have no more than 107 characters.
        self._folder = Path(tempfile.mkdtemp(prefix="forecast-"))
        count = min(self._options.replicas, self.spec.max_replicas)
        self._children = [
            _Child(self.spec, self._folder / f"{number}.sock", self._options)
            for number in range(count)
        ]
        if self._is_wanted:
            self._background = asyncio.create_task(self._start_children())

    async def call(self, call: Call) -> Answer:
        """Answer one call.

        Raises:
            HostUnavailable: no child answers.
            ModelNotReady: the model was not initialized.
            ModelBusy: it is being initialized already.
        """
        if call.operation is Operation.INITIALIZATION:
            return await self._initialize(call)
        if call.operation is Operation.INFERENCE:
            return await (await self._least_busy()).channel.forward(call)
        if call.operation is Operation.SHUTDOWN:
            return await self._shutdown(call)
        return await self._status(call)

    async def close(self) -> None:
        """End the children."""
        if self._background is not None:
            self._background.cancel()
        await asyncio.gather(*(child.close() for child in self._children))
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _start_children(self) -> None:
        results = await asyncio.gather(
            *(child.start() for child in self._children), return_exceptions=True
        )
        for error in results:
            if isinstance(error, BaseException):
                log.error("the host of %s did not start: %s", self.spec.model_id, error)

    async def _initialize(self, call: Call) -> Answer:
        if self._is_initializing:
            raise ModelBusy(f"{self.spec.model_id} is being loaded; try again later")
        self._is_initializing = self._is_wanted = True
        try:
            answers = await asyncio.gather(*(child.initialize(call) for child in self._children))
        finally:
            self._is_initializing = False
        return max(answers, key=lambda answer: answer.status)

    async def _least_busy(self) -> _Child:
        """Choose the child with the fewest requests; wait for one that is starting."""
        if not self._is_wanted:
            raise ModelNotReady(
                f"{self.spec.model_id} is uninitialized;"
                f" load it with POST /forecast/v1/{self.spec.model_id}/initialization"
            )
        up = [child for child in self._children if child.is_up]
        if not up:
            await self._children[0].start()
            return self._children[0]
        return min(up, key=lambda child: child.channel.outstanding)

    async def _status(self, call: Call) -> Answer:
        """Show the child that has furthest to go."""
        up = [child for child in self._children if child.is_up]
        if not up:
            state = "initializing" if self._is_wanted else "uninitialized"
            return Answer(200, orjson.dumps(_NO_CHILD | {"model_status": state}))
        answers = await asyncio.gather(*(child.channel.forward(call) for child in up))
        return max(answers, key=_to_go)

    async def _shutdown(self, call: Call) -> Answer:
        up = [child for child in self._children if child.is_up]
        answers = await asyncio.gather(*(child.channel.forward(call) for child in up))
        if any(answer.status >= 300 for answer in answers):
            return max(answers, key=lambda answer: answer.status)
        self._is_wanted = False
        await asyncio.gather(*(child.stop() for child in self._children))
        document = {"message": "the model is unloaded", "model_status": "uninitialized"}
        return Answer(200, orjson.dumps(document))


_NO_CHILD: dict[str, str | None] = dict.fromkeys(
    ("details", "source", "version", "device", "loaded_at")
)
_STATES = ("ready", "uninitialized", "initializing", "error")


def _to_go(answer: Answer) -> int:
    """Rank an answer about the status: the further from ready, the higher."""
    if answer.status != 200:
        return len(_STATES)
    return _STATES.index(orjson.loads(answer.body)["model_status"])


def _thread_limits(threads: int) -> dict[str, str]:
    """Variables that a numeric library reads when it is imported.

    PASSIVE, because two processes whose threads spin while they wait slow each other down
    by eight times.
    """
    libraries = ("OMP", "MKL", "OPENBLAS")
    limits = {f"{library}_NUM_THREADS": str(threads) for library in libraries}
    return {**limits, "OMP_WAIT_POLICY": "PASSIVE"}
