"""Runs an application until it is told to stop, and lets what runs finish first."""

import logging
import os
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from forecast import __version__
from forecast.api.middleware import Lifecycle

log = logging.getLogger(__name__)

_BACKLOG = 2048
_KEEP_ALIVE_S = 75  # longer than proxies and gateways keep a connection before they use it again


class Server(uvicorn.Server):
    """Drains from the first signal on: work that is new is turned away, the rest finishes."""

    def __init__(self, app: FastAPI, shutdown_s: float) -> None:
        self._lifecycle: Lifecycle = app.state.lifecycle
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http="httptools",
                lifespan="on",
                log_config=None,  # logging is configured already
                access_log=False,  # the application logs its requests itself
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(shutdown_s)),
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._lifecycle.draining = True
        super().handle_exit(sig, frame)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        for listening in sockets or ():
            log.info("forecast %s listens on %s", __version__, _name(listening))
        with suppress(KeyboardInterrupt):  # raised again once Ctrl-C has been obeyed
            super().run(sockets)

    def stop(self) -> None:
        """End as after a signal. Safe from any thread."""
        self._lifecycle.draining = True
        self.should_exit = True


def _name(listening: socket.socket) -> str:
    name = listening.getsockname()
    return f"{name[0]} port {name[1]}" if isinstance(name, tuple) else str(name)


def tcp_socket(address: str, port: int) -> socket.socket:
    """Bind a TCP socket.

    Raises:
        OSError: the port is in use, or this machine has no such address; says so.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(f"cannot listen on {address} port {port}: {reason.lower()}") from error


def unix_socket(path: Path) -> socket.socket:
    """Bind a Unix socket that only this user may connect to."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        bound.bind(str(path))
    finally:
        os.umask(before)
    bound.listen(_BACKLOG)
    return bound


def stop_with_parent(server: Server) -> None:
    """Stop the server when standard input ends: whoever started this process is gone."""

    def watch() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        log.info("the parent process is gone")
        server.stop()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
