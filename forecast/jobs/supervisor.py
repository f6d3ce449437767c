"""The workers that a gateway runs: child processes, started again when they end."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from forecast.core.processes import end, keep_running


@dataclass(frozen=True, slots=True)
class WorkersOptions:
    """How the workers of a gateway are run.

    Attributes:
        command: starts a worker, given `--id <name>`; it ends when its standard input does.
        count: of workers; 0 where they run elsewhere.
        name: what their names begin with.
        environment: of the workers, whole.
        stop_s: how long a worker may take to hand its jobs over before it is killed.
        restart_pause_s: before the first restart; doubles up to `longest_pause_s`, and starts
            over once a worker has lived that long.
    """

    command: Sequence[str]
    count: int = 1
    name: str = "gateway"
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_s: float = 40.0
    restart_pause_s: float = 0.5
    longest_pause_s: float = 30.0


class WorkerSupervisor:
    """Keeps workers running from `start` to `close`; they end with the gateway, however it ends."""

    def __init__(self, options: WorkersOptions) -> None:
        self._options = options
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run."""
        return [one.pid for one in self._processes.values() if one.returncode is None]

    async def start(self) -> None:
        """Start the workers, without waiting until they are ready."""
        self._tasks = [
            asyncio.create_task(
                keep_running(
                    partial(self._run_once, slot),
                    f"worker {self._name(slot)}",
                    pause_s=self._options.restart_pause_s,
                    longest_pause_s=self._options.longest_pause_s,
                )
            )
            for slot in range(self._options.count)
        ]

    async def close(self) -> None:
        """End the workers; their jobs go on when there are workers again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run_once(self, slot: int) -> str:
        """Run a worker until it ends or this task is cancelled, and say how it ended."""
        process = self._processes[slot] = await asyncio.create_subprocess_exec(
            *self._options.command,
            "--id",
            self._name(slot),
            stdin=asyncio.subprocess.PIPE,
            env=dict(self._options.environment),
        )
        try:
            return f"ended with status {await process.wait()}"
        finally:
            await end(process, self._options.stop_s)

    def _name(self, slot: int) -> str:
        return f"{self._options.name}-{slot}"
