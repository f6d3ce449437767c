"""`forecast serve`, `forecast worker`, `forecast host`: every process of a deployment by name."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from forecast import __version__

# What each imports is imported only then, for some libraries read the environment as they are.
VERBS = {
    "serve": ("forecast.main", "the gateway: every model behind one address"),
    "worker": ("forecast.worker", "a worker: trains and backtests, here or on another machine"),
    "sync": ("forecast.cli.sync", "copies versions to the hub or MLflow, and from there"),
    "compose": ("forecast.cli.compose", "prints a Compose file with one container per model"),
    "host": ("forecast.host", "the host of one model: forecast host chronos --port 8002"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a verb; what follows it goes to the verb, `--help` included."""
    verb, *rest = [*(sys.argv[1:] if arguments is None else arguments), ""]
    if verb == "--version":
        sys.stdout.write(f"{__version__}\n")
    elif verb in VERBS:
        _main_of(verb)(rest[:-1])
    else:
        asks_for_help = verb in ("", "-h", "--help")
        (sys.stdout if asks_for_help else sys.stderr).write(_usage())
        sys.exit(0 if asks_for_help else 2)


def _main_of(verb: str) -> Callable[[Sequence[str]], None]:
    run: Callable[[Sequence[str]], None] = import_module(VERBS[verb][0]).main
    return run


def _usage() -> str:
    lines = [f"  {verb:8} {what}" for verb, (_, what) in VERBS.items()]
    return "\n".join(
        ["usage: forecast VERB [options]", "", *lines, "", "forecast VERB --help tells more", ""]
    )


if __name__ == "__main__":
    main()
