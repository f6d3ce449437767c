"""Where the trainings stand that are not over: `step-00000500.json` beside `step-00000500.pt`."""

import logging
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import from_json

from forecast.core.atomic import discard
from forecast.core.state import TrainingState, migrated

log = logging.getLogger(__name__)


def states(run: Path) -> list[TrainingState]:
    """Read the states of an unfinished training, the newest first; damaged ones are left out."""
    found = [state for file in run.glob("step-*.json") for state in _read(file)]
    return sorted(found, key=lambda state: state.global_step, reverse=True)


def prune(run: Path, kept: int) -> None:
    """Keep the newest states of a training; one without its document first is none."""
    for file in sorted(run.glob("step-*.json"), reverse=True)[kept:]:
        file.unlink(missing_ok=True)
        file.with_suffix(".pt").unlink(missing_ok=True)


def prune_runs(folder: Path, kept: int) -> None:
    """Keep the trainings touched last."""
    runs = [(path.stat().st_mtime_ns, path) for path in folder.glob("*") if path.is_dir()]
    for _, run in sorted(runs, reverse=True)[kept:]:
        discard(run)


def _read(file: Path) -> Iterator[TrainingState]:
    try:
        state = TrainingState.model_validate(migrated(from_json(file.read_bytes())))
    except (OSError, ValueError, ValidationError, AttributeError):
        log.warning("%s of %s cannot be read and is passed over", file.name, file.parent.name)
        return
    if (file.parent / state.state_file).is_file():
        yield state
