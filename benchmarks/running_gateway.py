"""A gateway of its own for a benchmark: started, waited for, ended."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEY = "benchmark"
START_S = 120.0


@dataclass(frozen=True)
class Gateway:
    """Where a gateway listens, and its process."""

    url: str
    home: Path
    pid: int

    def call(self, method: str, path: str, body: Any = None, timeout_s: float = 900.0) -> Any:
        """Send JSON, or bytes that are JSON already; read JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else data,
            headers={"X-API-Key": KEY, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.code} {error.read().decode()}") from error


@contextmanager
def running(
    command: list[str], port: int, environment: Mapping[str, str] | None = None
) -> Iterator[Gateway]:
    """Start a gateway or a host, wait until it is live, end it afterwards."""
    with tempfile.TemporaryDirectory(prefix="forecast-benchmark-") as home:
        variables = {
            **os.environ,
            "FORECAST_API_KEY": KEY,
            "FORECAST_HOME": home,
            "FORECAST_PORT": str(port),
            **(environment or {}),
        }
        with (Path(home) / "log").open("w") as log:
            process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        gateway = Gateway(f"http://127.0.0.1:{port}", Path(home), process.pid)
        try:
            _wait(gateway, process)
            yield gateway
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def running_gateway(**environment: str) -> Iterator[Gateway]:
    """Start the gateway as the README does, on a port that nobody else listens on."""
    command = [sys.executable, "-m", "forecast.main"]
    with running(command, free_port(), environment) as gateway:
        yield gateway


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(gateway: Gateway, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit((gateway.home / "log").read_text())
        try:
            urllib.request.urlopen(gateway.url + "/health/live", timeout=1)
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the gateway did not start\n" + (gateway.home / "log").read_text())
