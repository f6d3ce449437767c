"""The composition root of the gateway. `forecast.main:app` is the application."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from forecast import __version__, host
from forecast.core.machine import set_library_variables
from forecast.logs import configure_logging
from forecast.server import Server, tcp_socket
from forecast.settings import Settings, read_settings, unknown_variables

if TYPE_CHECKING:
    from fastapi import FastAPI

log = logging.getLogger("forecast.main")  # as __main__ too

GATEWAY = "all"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the gateway until it is told to stop; with `MODEL_NAME=<model_id>`, a host."""
    asked = _parser().parse_args(arguments)
    try:
        settings = read_settings(address=asked.address, port=asked.port, home=asked.home)
        if settings.model_name == GATEWAY:
            _serve(settings)
        else:
            host.run(settings, settings.model_name)
    except (ValueError, OSError) as error:
        sys.exit(f"forecast-gateway: {error}")


def create(settings: Settings | None = None) -> "FastAPI":
    """Build the gateway; for a server of your own: `uvicorn --factory forecast.main:create`."""
    settings = settings or read_settings()
    configure_logging(
        "gateway", settings.log_level, settings.log_format, access=settings.access_log
    )
    set_library_variables(os.environ, settings.threads)
    for name in unknown_variables(os.environ):
        log.warning("%s sets nothing; docs/operations.md lists the settings", name)
    # Only now, for the libraries that this imports read the environment as they are imported.
    from forecast.wiring.gateway import gateway_app

    return gateway_app(settings, os.environ)


def _serve(settings: Settings) -> None:
    app = create(settings)
    listening = tcp_socket(settings.address, settings.port)
    Server(app, settings.serving.shutdown_s).run(sockets=[listening])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="forecast-gateway",
        description="Serve every forecasting model over one REST API.",
        epilog="Everything else is set in the environment; docs/operations.md lists it.",
    )
    parser.add_argument("--address", help="address to listen on (FORECAST_ADDRESS)")
    parser.add_argument("--port", type=int, help="port to listen on (FORECAST_PORT)")
    parser.add_argument("--home", help="folder of the key and the caches (FORECAST_HOME)")
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def __getattr__(name: str) -> "FastAPI":
    """Build `app` when a server asks for it, so that importing this costs nothing."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = application = create()
    return application


if __name__ == "__main__":
    main()
