"""A child process that holds a model: started, watched, restarted after a crash, ended."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from forecast.core.errors import ForecastError, HostUnavailable
from forecast.core.processes import end
from forecast.models.spec import ModelSpec
from forecast.serving.channel import Channel
from forecast.serving.hosts import Answer, Call

log = logging.getLogger(__name__)

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


@dataclass(frozen=True, slots=True)
class Place:
    """Where a child stands among the replicas of its model.

    Attributes:
        board: the file on which they tell each other how many cores they use.
        slot: its number.
    """

    board: Path
    slot: int

    @property
    def socket(self) -> Path:
        return self.board.with_name(f"{self.slot}.sock")


class Child:
    """One process that holds the model: started, watched, and restarted after a crash."""

    def __init__(self, spec: ModelSpec, place: Place, options: ChildOptions) -> None:
        self._spec = spec
        self._place = place
        self._socket = place.socket
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self._failed = asyncio.Event()
        self._initialization: Call | None = None
        self.channel = Channel(
            spec.model_id,
            "http://host",
            connector=aiohttp.UnixConnector(str(place.socket), limit=options.max_connections),
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
            self._failed.clear()
            self._watch = asyncio.create_task(self._keep_running())
        waiting = [asyncio.create_task(event.wait()) for event in (self._started, self._failed)]
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

    def lost(self) -> None:
        """Take note that nobody listens, before its end is noticed; it is on its way back."""
        self._started.clear()

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
            else:
                self._failed.set()
            await self._process.wait()
        finally:
            self._started.clear()
            await self._end()

    async def _spawn(self) -> asyncio.subprocess.Process:
        self._socket.unlink(missing_ok=True)
        self._failed.clear()
        return await asyncio.create_subprocess_exec(
            self._options.python,
            "-m",
            "forecast.host",
            self._spec.model_id,
            "--socket",
            str(self._socket),
            "--exit-with-parent",
            "--cores",
            str(self._place.board),
            "--slot",
            str(self._place.slot),
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
        if self._process is not None:
            await end(self._process, self._options.stop_s)


def _thread_limits(threads: int) -> dict[str, str]:
    """Variables that a numeric library reads when it is imported.

    PASSIVE, because two processes whose threads spin while they wait slow each other down
    by eight times.
    """
    libraries = ("OMP", "MKL", "OPENBLAS")
    limits = {f"{library}_NUM_THREADS": str(threads) for library in libraries}
    return {**limits, "OMP_WAIT_POLICY": "PASSIVE"}
