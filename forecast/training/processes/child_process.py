"""The parent's side of a fit: a child process that is started, heard, bounded and ended."""

import json
import os
import queue
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import IO, Any

import psutil

from forecast.core.errors import DeadlinePassed, MissingLibrary
from forecast.jobs.context import JobContext, Stopped, WorkFailed
from forecast.jobs.log_file import JobLog
from forecast.jobs.records import JobProgress
from forecast.models.spec import ModelSpec
from forecast.training.processes.call import STOP
from forecast.training.processes.limits import ChildLimits, Pace, family_of, memory_of
from forecast.training.processes.options import ProcessOptions

RUNNER = ("-m", "forecast.training.processes.runner")
TOGETHER = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
_CHUNK = 1 << 16
_LEFT_S = 5.0
_SILENCES = 3  # of pipes that somebody else holds open

Answer = dict[str, Any]
OnProgress = Callable[[JobProgress], None]


def run_child(
    spec: ModelSpec,
    folder: Path,
    options: ProcessOptions,
    context: JobContext,
    on_progress: OnProgress,
    processes: int | None = None,
) -> Answer:
    """Run the order of a folder in the model's own environment, to its end. Blocks.

    Args:
        on_progress: hears what the child reports, with its memory and a guess of its end.
        processes: that share the order, started by torchrun; None for one, without it.

    Returns:
        What the action of the order gave.

    Raises:
        Stopped: `context.should_stop` said so, and the child has ended.
        WorkFailed: why there is nothing to give.
        MissingLibrary: the model's environment is not there; says how to make it.
    """
    if not options.python.exists():
        raise MissingLibrary(f"{spec.name} has no interpreter here; {spec.how_to_install}")
    launcher = () if processes is None else (*TOGETHER, str(processes))
    command = [str(options.python), *launcher, *RUNNER, str(folder)]
    with _Child(command, options, context.log) as child:
        watch = _Watch(child, context, options.limits)
        paces: defaultdict[str, Pace] = defaultdict(Pace)  # of each phase
        last: Answer = {}
        for answer in child.answers(options.limits.poll_s):
            watch.look()
            if answer and "progress" in answer:
                pace = paces[answer["progress"]["phase"]]
                on_progress(_told(answer["progress"], pace, watch.memory_bytes))
            elif answer and "error" not in last:
                last = answer
    if watch.reason is not None:
        raise watch.reason
    return _outcome(last)


def _told(progress: Answer, pace: Pace, memory_bytes: int | None) -> JobProgress:
    eta_s = pace.eta_s(progress.get("step"), progress.get("of"))
    return JobProgress(**progress, eta_s=eta_s, memory_bytes=memory_bytes)


def _outcome(last: Answer) -> Answer:
    if "done" in last:
        done: Answer = last["done"]
        return done
    if "error" in last:
        raise WorkFailed(**last["error"])
    raise WorkFailed(
        "host_unavailable", "the process that did the work was killed; is memory short?"
    )


class _Child:
    """A process in a session of its own; it has ended, with all it started, when this closes."""

    def __init__(self, command: list[str], options: ProcessOptions, log: Path) -> None:
        self._log = JobLog(log, options.limits.log_bytes)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(options.environment),
            start_new_session=True,
        )
        self._answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self._readers = [
            self._reader(self._read_answers, self._process.stdout),
            self._reader(self._read_log, self._process.stderr),
        ]
        self.tell(dict(options.operator_config))

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

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, document: Answer) -> None:
        """Send a line; a child that is gone hears nothing."""
        if self._process.stdin is None:
            return
        with suppress(OSError):
            self._process.stdin.write(json.dumps(document).encode() + b"\n")
            self._process.stdin.flush()

    def signal(self, number: Signals) -> None:
        """Send a signal to the process and to all that it started."""
        if self._process.poll() is not None:
            return
        for process in family_of(self.pid):
            with suppress(psutil.Error):
                process.send_signal(number)

    def answers(self, pause_s: float) -> Iterator[Answer | None]:
        """Give what it says until it says no more; None where it was silent for `pause_s`."""
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

    def _end_leftovers(self) -> None:
        """End what it left behind in its session, such as what holds its pipes open."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, SIGKILL)

    @staticmethod
    def _reader(read: Callable[[IO[bytes]], None], pipe: IO[bytes] | None) -> threading.Thread:
        thread = threading.Thread(target=read, args=(pipe,), daemon=True)
        thread.start()
        return thread

    def _read_answers(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            if (answer := _answer(line)) is None:
                self._log.write(line)  # of a launcher
            else:
                self._answers.put(answer)
        self._answers.put(None)

    def _read_log(self, pipe: IO[bytes]) -> None:
        while printed := pipe.read1(_CHUNK):  # type: ignore[attr-defined]
            self._log.write(printed)


def _answer(line: bytes) -> Answer | None:
    """Read an answer; None of what is no JSON object."""
    try:
        answer = json.loads(line)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


class _Watch:
    """Looks after a child, and ends it where it must: asked first, then harder and harder.

    Attributes:
        reason: why it is to end; None while it may run.
        memory_bytes: when last looked at.
    """

    def __init__(self, child: _Child, context: JobContext, limits: ChildLimits) -> None:
        self._child = child
        self._context = context
        self._limits = limits
        self._looked = -limits.poll_s
        self._signals: list[tuple[float, Signals]] = []
        self.reason: Stopped | WorkFailed | None = None
        self.memory_bytes: int | None = None

    def look(self) -> None:
        """Look, if it is time to, and end what must end."""
        now = time.monotonic()
        if now - self._looked < self._limits.poll_s:
            return
        self._looked = now
        if self.reason is None:
            self._decide(now)
        while self._signals and self._signals[0][0] <= now:
            self._child.signal(self._signals.pop(0)[1])

    def _decide(self, now: float) -> None:
        limits, pause = self._limits, self._limits.cancel_s
        self.memory_bytes = memory_of(self._child.pid)
        if self._context.should_stop():
            self.reason = Stopped()
            self._child.tell(STOP)
            self._signals = [(now + pause, SIGTERM), (now + 2 * pause, SIGKILL)]
        elif self._context.is_late:
            self.reason = WorkFailed(DeadlinePassed.code, "the job took longer than it may")
            self._signals = [(now, SIGTERM), (now + pause, SIGKILL)]
        elif limits.memory_bytes is not None and self.memory_bytes > limits.memory_bytes:
            self.reason = WorkFailed(
                "memory_limit",
                f"the fit took {self.memory_bytes >> 20} MiB, more than the"
                f" {limits.memory_bytes >> 20} MiB it may; lower batch_size or the size of the"
                " network, or send fewer series",
            )
            self._signals = [(now, SIGKILL)]
