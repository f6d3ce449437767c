"""`python -m forecast.host <model_id>`: one process that holds one model and answers for it."""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from forecast.core.machine import cores, set_library_variables
from forecast.logs import configure_logging
from forecast.server import Server, stop_with_parent, tcp_socket, unix_socket
from forecast.serving.cores import CoreBoard
from forecast.settings import Settings, read_settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a host until it is told to stop."""
    asked = _parser().parse_args(arguments)
    try:
        settings = read_settings(address=asked.address, port=asked.port)
        model_id = asked.model_id or settings.model_name
        board = CoreBoard(asked.cores, slot=asked.slot, cores=cores()) if asked.cores else None
        run(settings, model_id, asked.socket, board, exit_with_parent=asked.exit_with_parent)
    except (ValueError, OSError) as error:
        sys.exit(f"forecast-host: {error}")


def run(
    settings: Settings,
    model_id: str,
    socket: Path | None = None,
    board: CoreBoard | None = None,
    *,
    exit_with_parent: bool = False,
) -> None:
    """Serve one model on a Unix socket, or on the address and port of the settings.

    Args:
        board: shares the cores with the other replicas of the model.

    Raises:
        ValueError: there is no such model.
        OSError: the address cannot be listened on.
    """
    configure_logging(
        f"host {model_id}",
        settings.log_level,
        settings.log_format,
        access=settings.access_log and socket is None,  # the gateway logs it already
    )
    set_library_variables(os.environ, settings.threads)
    gc.disable()  # what is imported and built stays: collections would only look through it
    # Only now, for the libraries that this imports read the environment as they are imported.
    from forecast.wiring.host import host_app

    app = host_app(settings, model_id, board, needs_key=socket is None)
    gc.freeze()
    gc.enable()
    listening = unix_socket(socket) if socket else tcp_socket(settings.address, settings.port)
    server = Server(app, settings.serving.shutdown_s)
    if exit_with_parent:
        stop_with_parent(server)
    server.run(sockets=[listening])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="forecast-host", description=__doc__)
    parser.add_argument("model_id", nargs="?", help="the model to hold; MODEL_NAME otherwise")
    parser.add_argument("--socket", type=Path, help="listen on this Unix socket, without keys")
    parser.add_argument("--cores", type=Path, help="file on which replicas share the cores")
    parser.add_argument("--slot", type=int, default=0, help="the place of this replica in it")
    parser.add_argument("--address", help="listen on this address")
    parser.add_argument("--port", type=int, help="listen on this port")
    parser.add_argument(
        "--exit-with-parent", action="store_true", help="stop when standard input ends"
    )
    return parser


if __name__ == "__main__":
    main()
