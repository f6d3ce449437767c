"""The child process of a job: started, heard, and ended."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from forecast.core.errors import MissingLibrary
from forecast.models.spec import ModelSpec
from forecast.training.limits import ChildLimits

LOG = "log.txt"
_GRACE_S = 5.0
_LONGEST_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a training failed, in words for the caller."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class ProcessOptions:
    """How the process of a model is run.

    Attributes:
        python: the interpreter, of the model's own environment where it has one.
        environment: of the process, whole.
        operator_config: fields of the model's configuration that only the operator sets;
            told through a pipe, never written down.
        limits: of each of its processes.
    """

    python: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    operator_config: Mapping[str, Any] = field(default_factory=dict)
    limits: ChildLimits = ChildLimits()


async def run_training(
    spec: ModelSpec,
    folder: Path,
    options: ProcessOptions,
    on_progress: Callable[[dict[str, Any]], None],
) -> Failure | dict[str, float]:
    """Run the order of a folder to its end; cancelling this ends the process.

    Returns:
        The best metrics, or why there are none.

    Raises:
        MissingLibrary: the model's environment is not there; says how to make it.
    """
    process = await _started(spec, folder, options)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(orjson.dumps(dict(options.operator_config)) + b"\n")
        answer: dict[str, Any] = {}
        async for line in process.stdout:
            answer = orjson.loads(line)
            if "progress" in answer:
                on_progress(answer["progress"])
        await process.wait()
    finally:
        await _ended(process)
    if "done" in answer:
        metrics: dict[str, float] = answer["done"]["metrics"]
        return metrics
    if "error" in answer:
        return Failure(**answer["error"])
    return Failure("host_unavailable", "the process of the training was killed; is memory short?")


async def _started(
    spec: ModelSpec, folder: Path, options: ProcessOptions
) -> asyncio.subprocess.Process:
    if not options.python.exists():
        raise MissingLibrary(f"{spec.name} has no interpreter here; {spec.how_to_install}")
    with (folder / LOG).open("wb") as log:
        return await asyncio.create_subprocess_exec(
            str(options.python),
            "-m",
            "forecast.training.runner",
            str(folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=dict(options.environment),
            limit=_LONGEST_ANSWER,
            start_new_session=True,  # so that what it starts ends with it
        )


async def _ended(process: asyncio.subprocess.Process) -> None:
    """End the process and all that it started, gently and then not."""
    if process.returncode is None:
        _signal(process, signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE_S)
    _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
