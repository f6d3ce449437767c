"""A child process that holds a model: started, watched, restarted after a crash, ended."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import orjson

from forecast.core.errors import ForecastError, HostUnavailable
from forecast.core.processes import end, keep_running
from forecast.models.spec import ModelSpec
from forecast.serving.channel import Channel, NotConnected
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
        start_s: how long a child may take until it listens, or listens again after a call failed
            to reach it; then it is killed.
        stop_s: how long a child may take to answer what waits before it is killed.
        restart_pause_s: before the first restart after a crash; doubles up to
            `longest_pause_s`, and starts over once a child has lived that long.
        max_connections: requests that may be with one child at a time.
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


class Pulse:
    """Wakes everyone who waits for a change, once for each change."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def beat(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        await self._event.wait()


class Child:
    """One process that holds the model: started, watched, and started again when it ends.

    A call that fails to reach the process says nothing about it for good: the process is asked
    for its health until it answers, and then takes calls again. It is replaced only once it has
    ended, or has given no answer for `start_s`.

    Attributes:
        is_listening: it answered when it was last asked.
        is_up: it listens, and what was last initialized is loaded.
        trouble: why the last attempt to bring it up failed; None if none has.
    """

    def __init__(
        self, spec: ModelSpec, place: Place, options: ChildOptions, changed: Pulse
    ) -> None:
        """Start nothing yet; `changed` beats whenever one of the attributes changes."""
        self._spec = spec
        self._place = place
        self._options = options
        self._changed = changed
        self._name = f"the host of {spec.model_id}"
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._doubted = asyncio.Event()
        self._initialization: Call | None = None
        self._is_loaded = self._was_up = False
        self.is_listening = self.is_up = False
        self.trouble: str | None = None
        self.channel = Channel(
            spec.model_id,
            "http://host",
            connector=aiohttp.UnixConnector(str(place.socket), limit=options.max_connections),
        )

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Keep the process running from now on; after a failed attempt, try again at once."""
        if self._watch is None:
            running = keep_running(
                self._run_once,
                self._name,
                pause_s=self._options.restart_pause_s,
                longest_pause_s=self._options.longest_pause_s,
                hurry=self._hurry,
            )
            self._watch = asyncio.create_task(running)
        elif self.trouble is not None and not self.is_listening:
            self.trouble = None
            self._hurry.set()

    async def initialize(self, call: Call) -> Answer:
        """Load the model; a restart loads it the same way.

        Raises:
            HostUnavailable: the process does not start, or went away while it loaded.
        """
        self.start()
        while True:
            await self._listening()
            try:
                answer = await self.channel.forward(call)
            except NotConnected:
                self.doubt()
                continue
            except HostUnavailable:
                self.doubt()
                raise
            if answer.status < 300:
                self._initialization, self._is_loaded = call, True
                self._come_up()
            return answer

    def adopt(self, initialization: Call) -> None:
        """Load in the background what another replica loaded, in as many attempts as it takes."""
        self._initialization, self._is_loaded = initialization, False
        self.doubt()

    def doubt(self) -> None:
        """Take no more calls until the process has answered a question about its health."""
        self.is_up = self.is_listening = False
        self._doubted.set()

    def unavailable(self) -> HostUnavailable:
        return HostUnavailable(
            f"{self._name} {self.trouble}; the gateway's log says why", retry_after_s=5.0
        )

    async def stop(self) -> None:
        """End the process, gently and then not."""
        self._initialization = None
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        self.trouble = None
        self._changed.beat()

    async def close(self) -> None:
        await self.stop()
        await self.channel.close()

    async def _listening(self) -> None:
        while not self.is_listening:
            if self.trouble is not None:
                raise self.unavailable()
            await self._changed.wait()

    async def _run_once(self) -> str:
        """Run the process until it ends or has to be ended, and say how it ended."""
        self._is_loaded = self._was_up = False
        self.trouble = None
        try:
            self._process = await self._spawn()
            return await self._attended(self._process)
        finally:
            self.is_up = self.is_listening = False
            self.trouble = None if self._was_up else "did not start"
            self._changed.beat()

    async def _attended(self, process: asyncio.subprocess.Process) -> str:
        """Keep a process in use until it ends or stops answering; it has ended afterwards."""
        serving = asyncio.create_task(self._serve())
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return f"ended with status {process.returncode}"
            serving.result()  # raises what it failed of
            await end(process, 0)
            return f"gave no answer for {self._options.start_s:g} s and was killed"
        finally:
            serving.cancel()
            ended.cancel()
            await asyncio.gather(serving, ended, return_exceptions=True)
            await end(process, self._options.stop_s)

    async def _serve(self) -> None:
        """Bring the process up, again after each doubt; return once it gives no answer."""
        pause = self._options.restart_pause_s
        while await self._answers():
            self.is_listening = True
            self._changed.beat()
            if await self._is_loaded_again():
                self._come_up()
                pause = self._options.restart_pause_s
                await self._doubted.wait()
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._options.longest_pause_s)

    def _come_up(self) -> None:
        self.is_listening = self.is_up = self._was_up = True
        self.trouble = None
        self._doubted.clear()
        self._changed.beat()

    async def _answers(self) -> bool:
        """Ask the process for its health until it answers; false once `start_s` is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._options.start_s):
                await asyncio.sleep(_POLL_S)
                while not await self.channel.is_alive():
                    await asyncio.sleep(_POLL_S)
                return True
        return False

    async def _is_loaded_again(self) -> bool:
        """Try once to load what was loaded before a restart, if there is anything to load."""
        if self._initialization is None or self._is_loaded:
            return True
        try:
            answer = await self.channel.forward(_waiting(self._initialization))
            if answer.status < 300:
                self._is_loaded = True
                return True
            reason = answer.body.decode(errors="replace")
        except ForecastError as error:
            reason = error.detail
        self.trouble = "could not load its weights again"
        log.error("%s %s: %s", self._name, self.trouble, reason)
        self._changed.beat()
        return False

    async def _spawn(self) -> asyncio.subprocess.Process:
        self._place.socket.unlink(missing_ok=True)
        return await asyncio.create_subprocess_exec(
            self._options.python,
            "-m",
            "forecast.host",
            self._spec.model_id,
            "--socket",
            str(self._place.socket),
            "--exit-with-parent",
            "--cores",
            str(self._place.board),
            "--slot",
            str(self._place.slot),
            stdin=asyncio.subprocess.PIPE,
            env={**self._options.environment, **_thread_limits(self._options.threads)},
        )


def _waiting(initialization: Call) -> Call:
    """Have a load answered once it is over, also where its caller did not wait for it."""
    document = orjson.loads(initialization.body) if initialization.body.strip() else {}
    return replace(initialization, body=orjson.dumps(document | {"wait": True}))


def _thread_limits(threads: int) -> dict[str, str]:
    """Make the variables that limit a child's threads, whatever this process was told."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**dict.fromkeys(names, str(threads)), "OMP_WAIT_POLICY": "PASSIVE"}
