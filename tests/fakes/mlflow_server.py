"""A real MLflow server on loopback, with its database and artifacts in a folder."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

START_S = 120


@dataclass(frozen=True)
class MlflowServer:
    uri: str
    database: Path


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def running_mlflow(folder: Path) -> Iterator[MlflowServer]:
    """Start it, wait until it answers, and end it with all of its workers."""
    port, log = free_port(), folder / "log"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/m.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    calm = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            env=os.environ | calm,
            stdout=output,
            stderr=output,
            cwd=folder,
            start_new_session=True,  # one group, so that its workers end with it
        )
    try:
        wait_until_up(f"http://127.0.0.1:{port}", process, log)
        yield MlflowServer(f"http://127.0.0.1:{port}", folder / "m.db")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_up(uri: str, server: subprocess.Popen, log: Path) -> None:
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up:
        with suppress(URLError, OSError), urlopen(f"{uri}/health", timeout=2):
            return
        with suppress(subprocess.TimeoutExpired):
            server.wait(0.1)
            break
    pytest.fail(f"the MLflow server did not start:\n{log.read_text()[-2000:]}")
