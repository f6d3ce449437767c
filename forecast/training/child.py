"""The parent's side of a child process: it is started, listened to, bounded and ended.

The child's side is `worker_main.py`, which says how the two talk.
"""

import json
import os
import queue
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import IO, Any

import psutil

from forecast.core.errors import (
    DeadlinePassed,
    ForecastError,
    HostUnavailable,
    MemoryLimitPassed,
    MissingLibrary,
    error_of,
)
from forecast.jobs.context import JobContext, Stopped
from forecast.jobs.log_file import MOST_BYTES, JobLog
from forecast.jobs.records import JobProgress
from forecast.models.spec import ModelSpec

WORKER = ("-m", "forecast.training.worker_main")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
STOP = {"stop": True}
_CHUNK = 1 << 16
_LEFT_S = 5.0
_SILENCES = 3  # of pipes that another process holds open

Message = dict[str, Any]
OnJobProgress = Callable[[JobProgress], None]


@dataclass(frozen=True, slots=True)
class ModelProcess:
    """How a process of a model is run, and what it may take.

    Attributes:
        python: the interpreter of the model's own environment, where it has one.
        environment: of the process, whole.
        operator_config: fields of the model's configuration that only the operator sets; sent
            through a pipe, never written to a file.
        cancel_s: between asking it to end, SIGTERM and SIGKILL.
        memory_bytes: of it and all that it started; None for no limit.
        log_bytes: kept of what it prints.
        poll_s: between two looks at it.
    """

    python: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    operator_config: Mapping[str, Any] = field(default_factory=dict)
    cancel_s: float = 10.0
    memory_bytes: int | None = None
    log_bytes: int = MOST_BYTES
    poll_s: float = 0.5


def run_child(
    spec: ModelSpec,
    folder: Path,
    process: ModelProcess,
    context: JobContext,
    on_progress: OnJobProgress,
    processes: int | None = None,
) -> Message:
    """Carry out the order of a folder in the model's own environment. Blocks.

    Args:
        on_progress: takes the child's reports, with its memory and the estimated time left.
        processes: that share the order, started by torchrun; None for one, without torchrun.

    Returns:
        The result of the order's action.

    Raises:
        Stopped: `context.should_stop` said so, and the child has ended.
        MissingLibrary: the model's environment is not installed; says how to install it.
        ForecastError: the child failed, was killed, or took too long or too much memory.
    """
    if not process.python.exists():
        raise MissingLibrary(f"{spec.name} has no interpreter here; {spec.how_to_install}")
    launcher = () if processes is None else (*TORCHRUN, str(processes))
    command = [str(process.python), *launcher, *WORKER, str(folder)]
    with _Child(command, process, context.log) as child:
        watch = _Watch(child, context, process)
        paces: defaultdict[str, Pace] = defaultdict(Pace)  # of each phase
        last: Message = {}
        for answer in child.answers(process.poll_s):
            watch.look()
            if answer and (said := answer.get("progress")):
                eta_s = paces[said["phase"]].eta_s(said.get("step"), said.get("of"))
                on_progress(JobProgress(**said, eta_s=eta_s, memory_bytes=watch.memory_bytes))
            elif answer and "error" not in last:
                last = answer
    if watch.reason is not None:
        raise watch.reason
    if "error" in last:
        raise error_of(**last["error"])
    if "done" not in last:
        raise HostUnavailable("the process that did the work was killed; is memory short?")
    done: Message = last["done"]
    return done


class Pace:
    """Estimates the time left of a phase, from the steps since its first report."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[int, float] | None = None

    def eta_s(self, step: int | None, of: int | None) -> float | None:
        """Estimate the seconds left; None before the second report."""
        if step is None or of is None:
            return None
        now = self._clock()
        if self._first is None:
            self._first = (step, now)
        done, since = self._first
        if step <= done:
            return None
        return max(0.0, (of - step) * (now - since) / (step - done))


class _Child:
    """A process in a session of its own; on exit it has ended, with all that it started."""

    def __init__(self, command: list[str], process: ModelProcess, log: Path) -> None:
        self._log = JobLog(log, process.log_bytes)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(process.environment),
            start_new_session=True,
        )
        self._answers: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._readers = [
            self._reader(self._read_answers, self._process.stdout),
            self._reader(self._read_log, self._process.stderr),
        ]
        self.tell(dict(process.operator_config))

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *exception: object) -> None:
        self.signal(SIGKILL)
        self._process.wait()
        self._end_leftovers()
        for reader in self._readers:
            reader.join(_LEFT_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def tell(self, document: Message) -> None:
        """Send a line; a child that has ended ignores it."""
        if self._process.stdin is None:
            return
        with suppress(OSError):
            self._process.stdin.write(json.dumps(document).encode() + b"\n")
            self._process.stdin.flush()

    def signal(self, number: Signals) -> None:
        """Send a signal to the process and to all that it started."""
        if self._process.poll() is not None:
            return
        for process in self._family():
            with suppress(psutil.Error):
                process.send_signal(number)

    def memory_bytes(self) -> int:
        """Sum the resident memory of the process and all that it started."""
        total = 0
        for process in self._family():
            with suppress(psutil.Error):
                total += int(process.memory_info().rss)
        return total

    def answers(self, pause_s: float) -> Iterator[Message | None]:
        """Yield its answers until it closes its output; None where it was silent for `pause_s`."""
        silent_since_its_end = 0
        while silent_since_its_end < _SILENCES:
            try:
                answer = self._answers.get(timeout=pause_s)
            except queue.Empty:
                yield None
                if self._process.poll() is not None:
                    self._end_leftovers()
                    silent_since_its_end += 1
            else:
                if answer is None:
                    return
                yield answer

    def _family(self) -> list[psutil.Process]:
        """List the process and all that it started; those that have ended are left out."""
        with suppress(psutil.Error):
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        return []

    def _end_leftovers(self) -> None:
        """End what it left behind in its session, such as what holds its pipes open."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, SIGKILL)

    @staticmethod
    def _reader(read: Callable[[IO[bytes]], None], pipe: IO[bytes] | None) -> threading.Thread:
        thread = threading.Thread(target=read, args=(pipe,), daemon=True)
        thread.start()
        return thread

    def _read_answers(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            if (answer := _json_object(line)) is None:
                self._log.write(line)  # of a launcher
            else:
                self._answers.put(answer)
        self._answers.put(None)

    def _read_log(self, pipe: IO[bytes]) -> None:
        while printed := pipe.read1(_CHUNK):  # type: ignore[attr-defined]
            self._log.write(printed)


def _json_object(line: bytes) -> Message | None:
    try:
        answer = json.loads(line)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


class _Watch:
    """Looks after a child, and ends it where it must: asked first, then harder and harder.

    Attributes:
        reason: why it has to end; None while it may run.
        memory_bytes: at the last look.
    """

    def __init__(self, child: _Child, context: JobContext, process: ModelProcess) -> None:
        self._child = child
        self._context = context
        self._process = process
        self._looked = -process.poll_s
        self._signals: list[tuple[float, Signals]] = []
        self.reason: Stopped | ForecastError | None = None
        self.memory_bytes: int | None = None

    def look(self) -> None:
        """Look, if it is time to, and end what must end."""
        now = time.monotonic()
        if now - self._looked < self._process.poll_s:
            return
        self._looked = now
        if self.reason is None:
            self._decide(now)
        while self._signals and self._signals[0][0] <= now:
            self._child.signal(self._signals.pop(0)[1])

    def _decide(self, now: float) -> None:
        limit, pause = self._process.memory_bytes, self._process.cancel_s
        self.memory_bytes = self._child.memory_bytes()
        if self._context.should_stop():
            self.reason = Stopped()
            self._child.tell(STOP)
            self._signals = [(now + pause, SIGTERM), (now + 2 * pause, SIGKILL)]
        elif self._context.is_late:
            self.reason = DeadlinePassed("the job took longer than it may")
            self._signals = [(now, SIGTERM), (now + pause, SIGKILL)]
        elif limit is not None and self.memory_bytes > limit:
            self.reason = MemoryLimitPassed(
                f"the fit took {self.memory_bytes >> 20} MiB, more than the {limit >> 20} MiB it"
                " may; lower batch_size or the size of the network, or send fewer series"
            )
            self._signals = [(now, SIGKILL)]
