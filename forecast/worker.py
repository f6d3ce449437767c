"""`forecast worker`: one process that works off the jobs, here or on another machine."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from forecast.logs import configure_logging
from forecast.settings import read_settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Work until told to stop; jobs that are under way go on in another worker, or later."""
    asked = _parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if asked.exit_with_parent:
        threading.Thread(target=_watch_parent, args=(stop,), daemon=True).start()
    try:
        settings = read_settings(home=asked.home, worker_id=asked.id)
        process = f"worker {settings.worker_id}" if settings.worker_id else "worker"
        configure_logging(process, settings.log_level, settings.log_format, access=False)
        # Only now, for what this imports may log.
        from forecast.wiring.worker import worker_of

        worker_of(settings, os.environ).run(stop)
    except (ValueError, OSError, SQLAlchemyError) as error:
        sys.exit(f"forecast worker: {error}")


def _watch_parent(stop: threading.Event) -> None:
    """Stop when standard input ends: whoever started this process is gone."""
    while sys.stdin.buffer.read(4096):
        pass
    stop.set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="forecast worker",
        description="Train and backtest what callers asked the gateway for.",
        epilog="The database and the home folder must be the gateway's: FORECAST_DATABASE_URL,"
        " FORECAST_HOME. Everything else is set in the environment too.",
    )
    parser.add_argument("--id", help="name among the workers of this machine (FORECAST_WORKER_ID)")
    parser.add_argument("--home", help="folder of jobs and models (FORECAST_HOME)")
    parser.add_argument(
        "--exit-with-parent", action="store_true", help="stop when standard input ends"
    )
    return parser


if __name__ == "__main__":
    main()
